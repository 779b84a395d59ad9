package imapclient

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a/b/c", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"a/%", "a/b", true},
		{"a/%", "a/b/c", false},
		{"a/*", "a/b/c", true},
		{"a/*", "a", false},
		{"*/Spam", "x/y/Spam", true},
		{"a%c*", "abbc/d", true},
		{"a%c*", "ab/c/d", false},
		{"[a]", "a", false},
		{"", "", true},
		{"", "a", false},
		{"a**%*b", "a/x/b", true},
	} {
		if got := glob(test.pattern, test.name); got != test.want {
			t.Errorf("glob(%q, %q): got %t", test.pattern, test.name, got)
		}
	}
	// No pattern of the settings and no name of a server may take long.
	if glob(strings.Repeat("*a", 200), strings.Repeat("a", 2000)+"b") {
		t.Error("it fits")
	}
}

func TestFolderSettings(t *testing.T) {
	var all []*connection.Folder
	for name, special := range map[string]string{"INBOX": "", "Sent": `\Sent`, "Old/Sent": "", "Trash": `\Trash`, "A*": "", "All Mail": `\All`} {
		all = append(all, &connection.Folder{Name: name, Special: special})
	}
	slices.SortFunc(all, func(a, b *connection.Folder) int { return strings.Compare(a.Name, b.Name) })
	for _, test := range []struct{ folders, exclude, want []string }{
		{nil, nil, []string{"INBOX"}},
		{[]string{"inbox"}, nil, []string{"INBOX"}},
		{[]string{"*"}, nil, []string{"A*", "All Mail", "INBOX", "Old/Sent", "Sent", "Trash"}},
		{[]string{"*"}, []string{`\trash`, `\All`, "Old/*"}, []string{"A*", "INBOX", "Sent"}},
		{[]string{"%"}, []string{"A*"}, []string{"INBOX", "Sent", "Trash"}}, // the folder "A*", and all that begin so
		{[]string{`\Sent`, "*Sent"}, nil, []string{"Sent", "Old/Sent"}},
		{[]string{`\Inbox`, "Missing", `\Drafts`}, nil, []string{"INBOX", "Missing"}},
	} {
		cfg := &Config{Folders: test.folders, ExcludeFolders: test.exclude}
		got := cfg.among(all)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q without %q: got %q, want %q", test.folders, test.exclude, got, test.want)
		}
	}
}
