package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// getFlags are the flags of get.
type getFlags struct{ force bool }

func getCommand(flags *flag.FlagSet) func(*session, []string) error {
	f := &getFlags{}
	flags.BoolVar(&f.force, "force", false, "replace a file that is there")
	return f.get
}

func (f *getFlags) get(s *session, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return misused("get: want a key, and perhaps a file")
	}
	key, target := args[0], path.Base(args[0])
	if len(args) == 2 {
		target = args[1]
	}
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		target = filepath.Join(target, path.Base(key))
	}
	if target == "-" {
		_, err := s.copyTo(s.out, key)
		return err
	}
	return f.getFile(s, key, target)
}

// getFile reads the object into a file of its own, which becomes the target when it is whole.
func (f *getFlags) getFile(s *session, key, target string) error {
	if _, err := os.Lstat(target); err == nil && !f.force {
		return fmt.Errorf("get: %s is there already; -force replaces it", target)
	}
	temp, err := os.CreateTemp(filepath.Dir(target), ".volume-*")
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	n, err := s.copyTo(temp, key)
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return s.tell(map[string]any{"key": key, "file": target, "size": n}, fmt.Sprintf("got %s  %s  into %s", key, octets(n), target))
}

// copyTo writes the object to w. nil means that it is whole, and has the digest that the store knows of it.
func (s *session) copyTo(w io.Writer, key string) (n int64, err error) {
	o, err := s.store.Get(s.ctx, key, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, o.Body.Close()) }()
	b := s.newBar("get", 1, o.Size)
	defer b.end()
	return io.Copy(w, &moving{o.Body, b})
}

// A moving reader moves a bar.
type moving struct {
	io.Reader
	bar *bar
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.bar.move(int64(n))
	return n, err
}
