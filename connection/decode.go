package connection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Field describes one setting of a driver's Config, for a form.
type Field struct {
	Name    string   `json:"name"`  // path of JSON names: "server", "oauth2.client_id"
	Type    string   `json:"type"`  // "string", "secret", "number", "boolean", "duration", "list"
	Label   string   `json:"label"` //
	Help    string   `json:"help,omitempty"`
	Default string   `json:"default,omitempty"`
	Enum    []string `json:"enum,omitempty"`
	Min     string   `json:"min,omitempty"`
	Max     string   `json:"max,omitempty"`

	Recommended string              `json:"recommended,omitempty"` // for an archive, where that is not the default
	When        map[string][]string `json:"when,omitempty"`        // matters only if each field named has one of the values
}

var (
	secretType      = reflect.TypeFor[Secret]()
	durationType    = reflect.TypeFor[Duration]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// settingOf is one JSON field of a struct, embedded structs flattened.
type setting struct {
	name  string
	field reflect.StructField
	index []int
}

func settingsOf(t reflect.Type) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			for _, s := range settingsOf(f.Type) {
				s.index = append([]int{i}, s.index...)
				all = append(all, s)
			}
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			all = append(all, setting{name: name, field: f, index: []int{i}})
		}
	}
	return all
}

// nested returns the struct type behind t if its fields are settings of their own.
func nested(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.Implements(unmarshalerType) || reflect.PointerTo(t).Implements(unmarshalerType) {
		return nil, false
	}
	return t, true
}

// conditions reads a tag when: "delete_mode=move" or "mode=implicit,starttls auth=ntlm".
func conditions(tag string) map[string][]string {
	var all map[string][]string
	for word := range strings.FieldsSeq(tag) {
		name, values, _ := strings.Cut(word, "=")
		if all == nil {
			all = make(map[string][]string)
		}
		all[name] = strings.Split(values, ",")
	}
	return all
}

func fieldsOf(t reflect.Type) []Field {
	var all []Field
	for _, s := range settingsOf(t) {
		if s.field.Tag.Get("form") == "false" {
			continue
		}
		if inner, ok := nested(s.field.Type); ok {
			for _, f := range fieldsOf(inner) {
				f.Name = s.name + "." + f.Name
				all = append(all, f)
			}
			continue
		}
		tag := s.field.Tag
		f := Field{
			Name: s.name, Type: wantOf(s.field.Type, true), Label: tag.Get("label"), Help: tag.Get("help"),
			Default: tag.Get("default"), Min: tag.Get("min"), Max: tag.Get("max"), Recommended: tag.Get("recommended"),
			When: conditions(tag.Get("when")),
		}
		if f.Label == "" {
			f.Label = s.name
		}
		if enum := tag.Get("enum"); enum != "" {
			f.Enum = strings.Split(enum, ",")
		}
		all = append(all, f)
	}
	return all
}

// decodeStrict reads one JSON object into the struct that v points to. Empty data is an empty object.
func decodeStrict(data []byte, v any) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	if !utf8.Valid(data) {
		return errors.New("is not UTF-8 text: save the file as UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return syntaxError(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: something follows the closing brace", position(data, dec.InputOffset()))
	}
	return decodeObject(raw, reflect.ValueOf(v).Elem(), "")
}

func syntaxError(data []byte, err error) error {
	var syn *json.SyntaxError
	if errors.As(err, &syn) {
		return fmt.Errorf("%s: no JSON: %w", position(data, syn.Offset-1), err)
	}
	return fmt.Errorf("no JSON: the text ends too early: %w", err)
}

func position(data []byte, offset int64) string {
	before := data[:min(max(int(offset), 0), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return fmt.Sprintf("line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// decodeObject fills the struct dst. Its defaults come first, so that a field that is given wins.
func decodeObject(raw json.RawMessage, dst reflect.Value, path string) error {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		field := ""
		if path != "" {
			field = strings.TrimSuffix(path, ".") + ": "
		}
		return fmt.Errorf("%sgot %s, want an object", field, kindOfJSON(raw))
	}
	known := settingsOf(dst.Type())
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = s.name
		if err := setDefault(s, dst.FieldByIndex(s.index)); err != nil {
			return err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return err
	}
	seen := make(map[string]bool, len(known))
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("%sgot %v, want a field name", path, token)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		i := slices.Index(names, name)
		switch {
		case i < 0:
			if near := nearest(name, names); near != "" {
				return fmt.Errorf("%s%q: unknown field; did you mean %q?", path, name, near)
			}
			return fmt.Errorf("%s%q: unknown field; there are %s", path, name, strings.Join(names, ", "))
		case seen[name]:
			return fmt.Errorf("%s%s: given twice", path, name)
		}
		seen[name] = true
		if err := decodeField(known[i], value, dst.FieldByIndex(known[i].index), path); err != nil {
			return err
		}
	}
	return nil
}

func setDefault(s setting, dst reflect.Value) error {
	if _, ok := nested(s.field.Type); ok && dst.Kind() == reflect.Struct {
		return decodeObject(json.RawMessage("{}"), dst, s.name+".") // its fields have defaults of their own
	}
	text, ok := s.field.Tag.Lookup("default")
	if !ok || text == "" {
		return nil
	}
	raw := json.RawMessage(text)
	if dst.Kind() == reflect.String || dst.Type() == durationType {
		raw = json.RawMessage(strconv.Quote(text))
	}
	if err := json.Unmarshal(raw, dst.Addr().Interface()); err != nil {
		return fmt.Errorf("%s: default tag %q: %w", s.name, text, err) // a driver's mistake; its tests find it
	}
	return nil
}

func decodeField(s setting, raw json.RawMessage, dst reflect.Value, path string) error {
	if bytes.Equal(raw, []byte("null")) {
		return nil // as if it were not given
	}
	if inner, ok := nested(s.field.Type); ok {
		if dst.Kind() == reflect.Pointer {
			dst.Set(reflect.New(inner))
			dst = dst.Elem()
		}
		return decodeObject(raw, dst, path+s.name+".")
	}
	if dst.Kind() == reflect.Slice && dst.Type() != rawType {
		dst.Set(reflect.Zero(dst.Type())) // json appends into a default's array otherwise
	}
	if err := json.Unmarshal(raw, dst.Addr().Interface()); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return fmt.Errorf("%s%s: got %s, want %s", path, s.name, kindOfJSON(raw), wantOf(s.field.Type, false))
		}
		return fmt.Errorf("%s%s: %w", path, s.name, err)
	}
	return checkBounds(s, raw, dst, path)
}

func checkBounds(s setting, raw json.RawMessage, dst reflect.Value, path string) error {
	tag := s.field.Tag
	if enum := tag.Get("enum"); enum != "" && dst.Kind() == reflect.String && dst.String() != "" {
		choices := strings.Split(enum, ",")
		if !slices.Contains(choices, dst.String()) {
			return fmt.Errorf("%s%s: %q: want %s", path, s.name, dst.String(), orList(choices))
		}
	}
	lo, hi := tag.Get("min"), tag.Get("max")
	if lo == "" && hi == "" || !dst.CanInt() {
		return nil
	}
	low, high := reflect.New(dst.Type()), reflect.New(dst.Type())
	bad := lo != "" && parseBound(lo, low) && dst.Int() < low.Elem().Int() || hi != "" && parseBound(hi, high) && dst.Int() > high.Elem().Int()
	if !bad {
		return nil
	}
	want := "want at least " + lo
	switch {
	case lo == "":
		want = "want at most " + hi
	case hi != "":
		want = "want " + lo + " to " + hi
	}
	return fmt.Errorf("%s%s: %s: %s", path, s.name, strings.Trim(string(raw), `"`), want)
}

func parseBound(text string, into reflect.Value) bool {
	if json.Unmarshal([]byte(text), into.Interface()) == nil {
		return true
	}
	return json.Unmarshal([]byte(strconv.Quote(text)), into.Interface()) == nil
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func kindOfJSON(raw json.RawMessage) string {
	switch c := bytes.TrimSpace(raw); {
	case len(c) == 0:
		return "nothing"
	case c[0] == '"':
		return "a string"
	case c[0] == '{':
		return "an object"
	case c[0] == '[':
		return "a list"
	case c[0] == 't', c[0] == 'f':
		return "true or false"
	case c[0] == 'n':
		return "null"
	case bytes.ContainsAny(c, ".eE"):
		return "a fraction"
	default:
		return "a number"
	}
}

// wantOf names a type for a form (short) or for an error.
func wantOf(t reflect.Type, short bool) string {
	pick := func(form, text string) string {
		if short {
			return form
		}
		return text
	}
	if t.Kind() == reflect.Pointer { // so that not given differs from false or 0
		t = t.Elem()
	}
	switch {
	case t == secretType:
		return pick("secret", "a string")
	case t == durationType:
		return pick("duration", `a duration like "30s", or a number of milliseconds`)
	}
	switch t.Kind() {
	case reflect.String:
		return pick("string", "a string")
	case reflect.Bool:
		return pick("boolean", "true or false")
	case reflect.Slice, reflect.Array:
		return pick("list", "a list of strings")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return pick("number", "a whole number")
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return pick("number", "a whole number, 0 or more")
	default:
		return pick("object", "an object")
	}
}

// nearest returns the member of names that a person most likely meant by name, "" if none is near.
func nearest(name string, names []string) string {
	fold := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
	}
	best, bestDist := "", 1+max(1, len(name)/3)
	for _, n := range names {
		if d := distance(fold(name), fold(n)); d < bestDist {
			best, bestDist = n, d
		}
	}
	return best
}

// distance is the number of edits (insert, delete, replace, swap of neighbours) between a and b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
