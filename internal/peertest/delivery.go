package peertest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// owner is whom the mail belongs to. name and group are empty if the server runs as root.
type owner struct {
	uid, gid    int
	name, group string
}

// mailOwner returns the user of this process, or nobody if that is root: Dovecot refuses to serve root's mail.
func mailOwner() (owner, error) {
	root := os.Getuid() == 0
	u, err := user.Current()
	if root {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return owner{}, err
	}
	o := owner{name: u.Username}
	var errUID, errGID error
	o.uid, errUID = strconv.Atoi(u.Uid)
	o.gid, errGID = strconv.Atoi(u.Gid)
	if err := errors.Join(errUID, errGID); err != nil {
		return owner{}, err
	}
	if root {
		o.name = ""
		return o, nil
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return owner{}, err
	}
	o.group = g.Name
	return o, nil
}

// own gives path to the mail's owner.
func (o owner) own(path string) error {
	if o.name != "" {
		return nil // it is ours already
	}
	return os.Chown(path, o.uid, o.gid)
}

// maildir makes a Maildir, and the user's home above it, if it is not there.
func (o owner) maildir(path string) error {
	dirs := []string{filepath.Dir(path), path}
	for _, sub := range []string{"tmp", "new", "cur"} {
		dirs = append(dirs, filepath.Join(path, sub))
	}
	if err := os.MkdirAll(filepath.Dir(dirs[0]), 0o755); err != nil {
		return err
	}
	for _, dir := range dirs {
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err := cmp.Or(err, o.own(dir)); err != nil {
			return err
		}
	}
	return nil
}

// sequence numbers the messages of one server, so that names sort in the order of delivery.
type sequence struct{ last atomic.Uint64 }

// Maildir returns the path of a user's Maildir: INBOX. Other folders are below it, as Maildir++ names them.
func (s *DovecotServer) Maildir(user string) string {
	if !slices.Contains(s.Users, user) {
		s.fail(fmt.Errorf("dovecot: no user %q: there are %s", user, strings.Join(s.Users, ", ")))
	}
	return filepath.Join(s.dir, "mail", user, "Maildir")
}

// folderDir returns the path of a folder. Dovecot writes names in modified UTF-7 with dots between the levels.
func (s *DovecotServer) folderDir(user, folder string) string {
	inbox := s.Maildir(user)
	if strings.EqualFold(folder, "INBOX") {
		return inbox
	}
	for _, c := range folder {
		if c < ' ' || c > '~' || c == '.' {
			s.fail(fmt.Errorf("dovecot: folder %q: want printable ASCII without dots", folder))
		}
	}
	name := strings.ReplaceAll(strings.ReplaceAll(folder, "&", "&-"), "/", ".")
	return filepath.Join(inbox, "."+name)
}

// Deliver puts messages into the user's INBOX. What IMAP and POP3 give out is what was put in if lines end in CRLF and
// there is no NUL; Dovecot gives LF as CRLF, and NUL as 0x80.
func (s *DovecotServer) Deliver(user string, raw ...[]byte) {
	s.DeliverTo(user, "INBOX", slices.Values(raw))
}

// DeliverTo puts messages into a folder, which it makes if need be. Levels are separated by "/". It writes files, some
// 20,000 a second, and does not ask the server.
func (s *DovecotServer) DeliverTo(user, folder string, raw iter.Seq[[]byte]) {
	dir := s.folderDir(user, folder)
	if err := s.owner.maildir(dir); err != nil {
		s.fail(err)
	}
	for octets := range raw {
		if err := s.write(dir, octets); err != nil {
			s.fail(fmt.Errorf("dovecot: deliver to %s: %w", user, err))
		}
	}
}

// write delivers one message as Maildir wants it: under tmp, then renamed into new. The name tells both sizes, as those
// that Dovecot writes do.
func (s *DovecotServer) write(dir string, octets []byte) error {
	lines, crlf := bytes.Count(octets, []byte("\n")), bytes.Count(octets, []byte("\r\n"))
	name := fmt.Sprintf("%d.Q%010d.peertest,S=%d,W=%d", time.Now().Unix(), s.seq.last.Add(1), len(octets), len(octets)+lines-crlf)
	tmp := filepath.Join(dir, "tmp", name)
	if err := os.WriteFile(tmp, octets, 0o644); err != nil {
		return err
	}
	if err := s.owner.own(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "new", name))
}

// Messages returns what is in the user's INBOX, octet for octet as the files hold it, in the order of delivery. It does
// not return messages that are being delivered.
func (s *DovecotServer) Messages(user string) [][]byte { return s.MessagesIn(user, "INBOX") }

// MessagesIn is [DovecotServer.Messages] for any folder; one that does not exist is empty.
func (s *DovecotServer) MessagesIn(user, folder string) [][]byte {
	var raw [][]byte
	for _, path := range s.files(user, folder) {
		octets, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			// The server has moved it since (a flag is part of the name), or removed it: look again.
			return s.MessagesIn(user, folder)
		}
		if err != nil {
			s.fail(err)
		}
		raw = append(raw, octets)
	}
	return raw
}

// Count returns how many messages there are in a folder, without reading them.
func (s *DovecotServer) Count(user, folder string) int { return len(s.files(user, folder)) }

// files returns the paths of a folder's messages in the order of delivery.
func (s *DovecotServer) files(user, folder string) []string {
	dir := s.folderDir(user, folder)
	base := func(path string) string {
		name, _, _ := strings.Cut(filepath.Base(path), ":") // ":2," begins the flags
		return name
	}
	seen := make(map[string]string)
	// new first: a message that moves to cur between the two is seen twice, not never.
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.fail(err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, sub, e.Name())
			seen[base(path)] = path
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = seen[name]
	}
	return names
}
