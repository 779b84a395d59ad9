package objectstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func TestCheckKey(t *testing.T) {
	segment := strings.Repeat("s", 255)
	long := strings.Repeat(segment+"/", 4)
	for _, key := range []string{"a", "a/b", "messages/ab/cd.eml", "é/😀", "a b%+&?#", "...", ".a", "a..b", segment, long[:768] + "ab/" + segment[:253], "C:", "con"} {
		if err := objectstore.CheckKey(key); err != nil {
			t.Errorf("%.20q: %v", key, err)
		}
	}
	cases := []struct{ key, rule string }{
		{"", "empty"},
		{"/a", "begin"},
		{"a/", "end"},
		{"a//b", "two slashes"},
		{".", `"."`},
		{"..", `".."`},
		{"a/../b", `".."`},
		{"a/./b", `"."`},
		{"a\nb", "control"},
		{"a\x00", "control"},
		{"a\x7f", "control"},
		{"a\u0085", "control"},
		{"a\xff", "UTF-8"},
		{`a\b`, "backslash"},
		{segment + "s", "255"},
		{long + "12345", "1024"},
	}
	for _, tc := range cases {
		err := objectstore.CheckKey(tc.key)
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != connection.ErrUnsupported || e.Code != objectstore.InvalidKey || !strings.Contains(err.Error(), tc.rule) {
			t.Errorf("%.20q: got %v, want ErrUnsupported with code %s that says %q", tc.key, err, objectstore.InvalidKey, tc.rule)
		}
	}
}

func TestCheckPut(t *testing.T) {
	cases := []struct {
		opts connection.PutOptions
		want error
	}{
		{connection.PutOptions{Meta: map[string]string{"Folder-Name_1.x": "Entwürfe"}, ContentType: "message/rfc822"}, nil},
		{connection.PutOptions{Size: -1}, connection.ErrInvalid},
		{connection.PutOptions{SHA256: "abc"}, connection.ErrInvalid},
		{connection.PutOptions{SHA256: strings.Repeat("A", 64)}, connection.ErrInvalid},
		{connection.PutOptions{SHA256: strings.Repeat("a", 64)}, nil},
		{connection.PutOptions{ContentType: "a\r\nb"}, connection.ErrInvalid},
		{connection.PutOptions{Meta: map[string]string{"": "x"}}, connection.ErrInvalid},
		{connection.PutOptions{Meta: map[string]string{"a b": "x"}}, connection.ErrInvalid},
		{connection.PutOptions{Meta: map[string]string{"a": "x\xff"}}, connection.ErrInvalid},
		{connection.PutOptions{Meta: map[string]string{"a": strings.Repeat("x", 2047)}}, nil},
		{connection.PutOptions{Meta: map[string]string{"a": strings.Repeat("x", 2048)}}, connection.ErrTooLarge},
	}
	for _, tc := range cases {
		if err := objectstore.CheckPut("k", &tc.opts); !errors.Is(err, tc.want) {
			t.Errorf("%.60v: got %v, want %v", tc.opts, err, tc.want)
		}
	}
	if err := objectstore.CheckPut("k", nil); err != nil {
		t.Error(err)
	}
}
