package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// readAhead is the size of the buffers between this program and the kernel.
const readAhead = 256 << 10

// rawIMAP is the limit of fetching: one command for everything, and one file for each literal.
func rawIMAP(t task) (tally, error) {
	conn, err := net.Dial("tcp", t.Address)
	if err != nil {
		return tally{}, err
	}
	if t.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(t.CAPEM))
		conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	}
	r := bufio.NewReaderSize(conn, readAhead)
	if _, err := r.ReadSlice('\n'); err != nil {
		return tally{}, err
	}
	var done tally
	for _, command := range []string{"LOGIN " + t.User + " " + t.Password, "EXAMINE INBOX", "UID FETCH 1:* (UID BODY.PEEK[])", "LOGOUT"} {
		if _, err := io.WriteString(conn, "a "+command+"\r\n"); err != nil {
			return done, err
		}
		if err := done.answer(r, t); err != nil {
			word, _, _ := strings.Cut(command, " ") // not the password
			return done, fmt.Errorf("%s: %w", word, err)
		}
	}
	return done, conn.Close()
}

// answer reads up to the tagged line and stores each literal.
func (done *tally) answer(r *bufio.Reader, t task) error {
	var body []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if bytes.HasPrefix(line, []byte("a ")) {
			if !bytes.HasPrefix(line, []byte("a OK")) {
				return errors.New(string(line))
			}
			return nil
		}
		open := bytes.LastIndexByte(line, '{')
		if open < 0 || !bytes.HasSuffix(line, []byte("}")) {
			continue
		}
		size, err := strconv.Atoi(string(line[open+1 : len(line)-1]))
		if err != nil {
			return err
		}
		if t.Sink == "discard" {
			if _, err := r.Discard(size); err != nil {
				return err
			}
			done.Messages++
			done.Octets += int64(size)
			continue
		}
		if cap(body) < size {
			body = make([]byte, size)
		}
		body = body[:size]
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		done.Messages++
		done.Octets += int64(size)
		if err := deliverFile(filepath.Join(t.Dir, strconv.Itoa(done.Messages)), body, t.Sync); err != nil {
			return err
		}
	}
}

// deliverFile stores a message as mail programs do: under another name first.
func deliverFile(name string, octets []byte, sync bool) error {
	if err := writeFile(name+".tmp", octets, sync); err != nil {
		return err
	}
	return rename(name+".tmp", name)
}

// writeFile writes a file with one call.
func writeFile(name string, octets []byte, sync bool) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(octets)
	if sync && err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rawMaildir is the limit of sweeping: list the folder, and read the files in several threads.
func rawMaildir(t task) (tally, error) {
	var names []string
	for _, sub := range []string{"new", "cur"} {
		d, err := os.Open(filepath.Join(t.Dir, sub))
		if err != nil {
			return tally{}, err
		}
		entries, err := d.Readdirnames(-1)
		if err := errors.Join(err, d.Close()); err != nil {
			return tally{}, err
		}
		for _, name := range entries {
			names = append(names, filepath.Join(t.Dir, sub, name))
		}
	}
	parts := make([]tally, t.Workers)
	errs := make([]error, t.Workers)
	var wg sync.WaitGroup
	for i := range t.Workers {
		wg.Go(func() {
			buf := make([]byte, readAhead)
			for n := i; n < len(names) && errs[i] == nil; n += t.Workers {
				errs[i] = parts[i].read(names[n], buf)
			}
		})
	}
	wg.Wait()
	var done tally
	for _, p := range parts {
		done.Messages += p.Messages
		done.Octets += p.Octets
	}
	return done, errors.Join(errs...)
}

func (done *tally) read(name string, buf []byte) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	done.Messages++
	for {
		n, err := f.Read(buf)
		done.Octets += int64(n)
		if errors.Is(err, io.EOF) {
			return f.Close()
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
}

// fillMaildir makes a Maildir that holds the corpus.
func fillMaildir(dir string, c corpus) error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	n := 0
	for m := range c.messages() {
		n++
		if err := writeFile(filepath.Join(dir, "cur", fmt.Sprintf("17700000%02d.Q%d.bench:2,S", n%100, n)), m, false); err != nil {
			return err
		}
	}
	return nil
}
