package gmail

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
)

// The labels that Gmail makes itself. Their ids are constants.
const (
	labelInbox     = "INBOX"
	labelSent      = "SENT"
	labelDraft     = "DRAFT"
	labelTrash     = "TRASH"
	labelSpam      = "SPAM"
	labelChat      = "CHAT"
	labelStarred   = "STARRED"
	labelUnread    = "UNREAD"
	labelImportant = "IMPORTANT"
	categoryPrefix = "CATEGORY_"
)

// folderArchive is the folder of a message that no label puts into another. It is no label.
const folderArchive = "Archive"

// flagImportant is the keyword of messages that Gmail takes for important (RFC 8457).
const flagImportant connection.Flag = "$Important"

// A systemFolder is a label of Gmail's own that is a folder.
type systemFolder struct {
	id, special string
}

// systemFolders are the labels of Gmail's own that are folders, in the order of Folders, with their special use (RFC 6154,
// 2, and for \Important RFC 8457).
var systemFolders = [...]systemFolder{
	{labelInbox, ""},
	{labelSent, `\Sent`},
	{labelDraft, `\Drafts`},
	{labelTrash, `\Trash`},
	{labelSpam, `\Junk`},
	{labelChat, ""},
	{labelStarred, `\Flagged`},
	{labelImportant, `\Important`},
}

// A labelSet is the labels of one mailbox at one moment. It is immutable.
type labelSet struct {
	names map[string]string // of user labels, as Gmail has them
	byID  map[string]string // paths of user labels
	byKey map[string]string // folded path to id, of all folders
}

// newLabelSet makes the folders of labels. Gmail nests labels by "/" in their names; a path has delimiter instead, and is
// encoded so that a name can be had back from it and that no two labels share one, also where case makes no difference.
func newLabelSet(labels []*gapi.Label, delimiter string) *labelSet {
	l := &labelSet{names: make(map[string]string), byID: make(map[string]string), byKey: make(map[string]string)}
	for _, f := range systemFolders {
		l.byKey[foldPath(f.id)] = f.id
	}
	l.byKey[foldPath(folderArchive)] = ""
	var own []*gapi.Label
	for _, label := range labels {
		if label == nil || label.Id == "" {
			continue
		}
		if !isSystem(label) {
			own = append(own, label)
		}
	}
	// The older of two labels whose paths differ in nothing but case keeps its plain path: ids are given in order.
	slices.SortFunc(own, func(a, b *gapi.Label) int {
		return cmp.Or(cmp.Compare(len(a.Id), len(b.Id)), cmp.Compare(a.Id, b.Id))
	})
	for _, label := range own {
		if _, twice := l.byID[label.Id]; twice {
			continue
		}
		path := encodePath(label.Name, delimiter)
		if _, taken := l.byKey[foldPath(path)]; taken {
			path += "~" + encodePart(label.Id, delimiter) // a "~" of a name is encoded: nothing else has this path
		}
		l.names[label.Id], l.byID[label.Id], l.byKey[foldPath(path)] = label.Name, path, label.Id
	}
	return l
}

func isSystem(label *gapi.Label) bool {
	return label.Type == "system" || systemID(label.Id)
}

// systemID reports whether id is that of a label of Gmail's own.
func systemID(id string) bool {
	return id == labelUnread || strings.HasPrefix(id, categoryPrefix) || slices.ContainsFunc(systemFolders[:], func(f systemFolder) bool { return f.id == id })
}

// foldPath is the same for paths that a file system without case takes for one.
func foldPath(path string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, path)
}

// sort says what the labels of a message mean: its folder, the paths of all folders that it is in, that one first, and its
// flags. The order of ids makes no difference. known is false if one of them is not of this set: then it stands for itself.
func (l *labelSet) sort(ids []string) (folder string, labels []string, flags []connection.Flag, known bool) {
	known = true
	seen, own := true, []string(nil)
	have := make(map[string]bool, len(ids))
	for _, id := range ids {
		if have[id] || id == "" {
			continue
		}
		have[id] = true
		switch {
		case id == labelUnread:
			seen = false
		case strings.HasPrefix(id, categoryPrefix):
			flags = append(flags, connection.Flag(id))
		case systemID(id):
		default:
			path, ok := l.byID[id]
			if !ok {
				path, known = encodePart(id, "/"), false
			}
			own = append(own, path)
		}
	}
	slices.Sort(own)
	slices.Sort(flags)
	for _, id := range []string{labelTrash, labelSpam, labelDraft} {
		if have[id] {
			labels = append(labels, id)
		}
	}
	labels = append(labels, own...)
	for _, id := range []string{labelInbox, labelSent, labelChat} {
		if have[id] {
			labels = append(labels, id)
		}
	}
	if len(labels) == 0 {
		labels = []string{folderArchive}
	}
	var marks []connection.Flag
	if seen {
		marks = append(marks, connection.FlagSeen)
	}
	if have[labelStarred] {
		marks = append(marks, connection.FlagFlagged)
	}
	if have[labelDraft] {
		marks = append(marks, connection.FlagDraft)
	}
	if have[labelImportant] {
		marks = append(marks, flagImportant)
	}
	return labels[0], labels, append(marks, flags...), known
}

// id returns the label that somebody names: by the path of its folder, its name in Gmail, its id, or a special use; system
// folders in any case. folderArchive is "", as no label stands for it.
func (l *labelSet) id(name string) (id string, ok bool) {
	if id, ok := l.byKey[foldPath(name)]; ok && (id == "" || systemID(id) || l.byID[id] == name) {
		return id, true
	}
	if _, exact := l.byID[name]; exact || systemID(name) {
		return name, true
	}
	for _, f := range systemFolders {
		if f.special != "" && strings.EqualFold(name, f.special) {
			return f.id, true
		}
	}
	for _, id := range sortedKeys(l.names) {
		if l.names[id] == name {
			return id, true
		}
	}
	id, ok = l.byKey[foldPath(name)]
	return id, ok
}

// paths returns the paths of the labels that users made, by id. Gmail's own never change.
func (l *labelSet) paths() map[string]string { return l.byID }

// path returns the folder of a label, "" for one that is none.
func (l *labelSet) path(id string) string {
	if path, ok := l.byID[id]; ok {
		return path
	}
	for _, f := range systemFolders {
		if f.id == id {
			return id
		}
	}
	return ""
}

// folders returns the folders of a mailbox: Gmail's own, folderArchive, then those of users by name.
func (l *labelSet) folders(mailbox string) []*connection.Folder {
	var all []*connection.Folder
	for _, f := range systemFolders {
		all = append(all, &connection.Folder{Mailbox: mailbox, Name: f.id, ID: f.id, Special: f.special, Messages: -1})
	}
	all = append(all, &connection.Folder{Mailbox: mailbox, Name: folderArchive, Special: `\Archive`, Messages: -1})
	first := len(all)
	for id, path := range l.byID {
		all = append(all, &connection.Folder{Mailbox: mailbox, Name: path, ID: id, Messages: -1})
	}
	slices.SortFunc(all[first:], func(a, b *connection.Folder) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// diffLabels returns what became of the folders of user labels between two sets of paths by id: those that are gone, that
// have another path, and that are new, each by path. Gmail tells nothing of this in its history.
func diffLabels(old, now map[string]string) []connection.Change {
	var gone, renamed, added []connection.Change
	for id, was := range old {
		is, ok := now[id]
		switch {
		case !ok:
			gone = append(gone, connection.Change{Op: connection.FolderRemoved, Folder: &connection.Folder{Name: was, ID: id, Messages: -1}})
		case is != was:
			renamed = append(renamed, connection.Change{Op: connection.FolderRenamed, Folder: &connection.Folder{Name: is, ID: id, Previous: was, Messages: -1}})
		}
	}
	for id, is := range now {
		if _, ok := old[id]; !ok {
			added = append(added, connection.Change{Op: connection.FolderAdded, Folder: &connection.Folder{Name: is, ID: id, Messages: -1}})
		}
	}
	for _, part := range [][]connection.Change{gone, renamed, added} {
		slices.SortFunc(part, func(a, b connection.Change) int { return strings.Compare(a.Folder.Name, b.Folder.Name) })
	}
	return slices.Concat(gone, renamed, added)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// encodePath returns the path of a label's name. Each "/" between two levels becomes delimiter; one that would leave a
// level empty is part of a name. See encodePart.
func encodePath(name, delimiter string) string {
	var parts []string
	part := ""
	for i := 0; i < len(name); i++ {
		if name[i] != '/' || part == "" || i+1 == len(name) || name[i+1] == '/' && strings.Trim(name[i:], "/") == "" {
			part += name[i : i+1]
			continue
		}
		parts, part = append(parts, part), ""
	}
	parts = append(parts, part)
	for i, p := range parts {
		parts[i] = encodePart(p, delimiter)
	}
	return strings.Join(parts, delimiter)
}

// encodePart encodes one level of a label's name: %XX stands for an octet of what cannot be part of a level (the delimiter,
// "/" and `\`, control characters, octets that are no UTF-8), of blanks at its ends, of "~" and "%", and of names that
// mean a directory.
func encodePart(part, delimiter string) string {
	if part == "." || part == ".." {
		return strings.ReplaceAll(part, ".", "%2E")
	}
	var b strings.Builder
	for i := 0; i < len(part); {
		r, size := utf8.DecodeRuneInString(part[i:])
		octets := part[i : i+size]
		edge := i == 0 || i+size == len(part)
		switch {
		case r == utf8.RuneError && size <= 1, unicode.IsControl(r), strings.ContainsRune(`%~/\`, r), octets == delimiter, edge && unicode.IsSpace(r),
			r == '\u2028', r == '\u2029', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			for _, o := range []byte(octets) {
				fmt.Fprintf(&b, "%%%02X", o)
			}
		default:
			b.WriteString(octets)
		}
		i += size
	}
	return b.String()
}
