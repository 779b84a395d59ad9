package peertest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// minioDir is where .ci/peer-minio installs it, below peersDir.
const minioDir = "minio-20260212201848"

// MinIOOptions are the options of [MinIO] and [StartMinIO]. The zero value has a bucket named archive, over plain HTTP.
type MinIOOptions struct {
	Buckets []string // that are there from the start, besides those of MinIOServer.Bucket; nil = {"archive"}
	TLS     bool     // speaks https
	Dir     string   // where to keep everything; "" = os.TempDir
}

// A MinIOServer is a running MinIO, which speaks the protocol of S3. Its fields do not change after the start.
type MinIOServer struct {
	URL       string // "http://127.0.0.1:port", or https
	AccessKey string
	SecretKey string
	CAPEM     string // certificate of the authority that signed the server's, with MinIOOptions.TLS

	opts    MinIOOptions
	dir     string
	client  http.Client
	process *process
}

// MinIO starts a MinIO that ends with the test. Where it is not installed the test is skipped, or fails if the environment
// has CI=true. opts may be nil.
func MinIO(t testing.TB, opts *MinIOOptions) *MinIOServer {
	t.Helper()
	s, err := StartMinIO(t.Context(), opts)
	Require(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("minio's log:\n%s", s.Log())
		}
	})
	return s
}

// StartMinIO starts a MinIO and returns when it has its buckets. The caller must Close it; ctx bounds the start alone.
// opts may be nil. The error is ErrNotInstalled if there is no MinIO.
func StartMinIO(ctx context.Context, opts *MinIOOptions) (*MinIOServer, error) {
	s := &MinIOServer{AccessKey: "archiver", SecretKey: rand.Text()}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Buckets == nil {
		s.opts.Buckets = []string{"archive"}
	}
	peers, err := peersDir()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(peers, minioDir, "minio")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("minio %w (.ci/peer-minio; %w)", ErrNotInstalled, err)
	}
	if s.dir, err = os.MkdirTemp(s.opts.Dir, "mn"); err != nil {
		return nil, fmt.Errorf("minio: %w", err)
	}
	if err := s.start(ctx, program); err != nil {
		return nil, errors.Join(fmt.Errorf("minio: %w", err), s.Close())
	}
	return s, nil
}

// start runs the server and waits until it has made its buckets.
func (s *MinIOServer) start(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	const host = "127.0.0.1"
	ports, err := freePorts(host, []string{"s3"})
	if err != nil {
		return err
	}
	addr := net.JoinHostPort(host, strconv.Itoa(ports["s3"]))
	s.URL = "http://" + addr
	certs, data := filepath.Join(s.dir, "certs"), filepath.Join(s.dir, "data")
	if err := errors.Join(os.Mkdir(certs, 0o700), os.Mkdir(data, 0o700)); err != nil {
		return err
	}
	s.client.Transport = &http.Transport{}
	if s.opts.TLS {
		if err := s.certify(certs, host); err != nil {
			return err
		}
		s.URL = "https://" + addr
	}
	cmd := exec.Command(program, "server", "--quiet", "--certs-dir", certs, "--address", addr, data)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"HOME=" + s.dir, "TMPDIR=" + s.dir, "MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on",
	}
	if s.process, err = startProcess(cmd); err != nil {
		return err
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for todo := s.opts.Buckets; len(todo) > 0; {
		err := s.createBucket(ctx, todo[0], false)
		if err == nil {
			todo = todo[1:]
			continue
		}
		select {
		case <-retry.C:
		case <-s.process.done:
			return err // Close tells why it ended
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err, errors.New(s.Log()))
		}
	}
	return nil
}

// certify writes a certificate where the server looks for it, and trusts it.
func (s *MinIOServer) certify(dir, host string) error {
	cert, err := newCertificate([]string{"localhost", host})
	if err != nil {
		return err
	}
	s.CAPEM = string(cert.ca)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert.ca)
	s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "public.crt"), cert.chain, 0o600),
		os.WriteFile(filepath.Join(dir, "private.key"), cert.key, 0o600),
	)
}

// Bucket makes one more bucket, with object lock if it is wanted, and returns its name.
func (s *MinIOServer) Bucket(ctx context.Context, lock bool) (string, error) {
	name := "b-" + strings.ToLower(rand.Text())
	return name, s.createBucket(ctx, name, lock)
}

// createBucket makes a request with a signature of version 4.
func (s *MinIOServer) createBucket(ctx context.Context, name string, lock bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/"+name, http.NoBody)
	if err != nil {
		return err
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	stamp := time.Now().UTC().Format("20060102T150405Z")
	headers := [][2]string{{"x-amz-bucket-object-lock-enabled", strconv.FormatBool(lock)}, {"x-amz-content-sha256", empty}, {"x-amz-date", stamp}}
	canonical, names := "PUT\n/"+name+"\n\nhost:"+req.URL.Host+"\n", "host"
	for _, h := range headers {
		req.Header.Set(h[0], h[1])
		canonical += h[0] + ":" + h[1] + "\n"
		names += ";" + h[0]
	}
	digest := sha256.Sum256([]byte(canonical + "\n" + names + "\n" + empty))
	scope := stamp[:8] + "/us-east-1/s3/aws4_request"
	key := []byte("AWS4" + s.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = hmacOf(key, part)
	}
	signature := hmacOf(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(digest[:]))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", s.AccessKey, scope, names, signature))
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("making the bucket %s: %s: %s", name, resp.Status, body)
	}
	return nil
}

func hmacOf(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, text) // a hash never fails
	return mac.Sum(nil)
}

// Log returns the last 256 KiB that the server has logged.
func (s *MinIOServer) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.log.String()
}

// Close ends the server and removes all that belongs to it.
func (s *MinIOServer) Close() error {
	s.client.CloseIdleConnections()
	var err error
	if s.process != nil {
		err = s.process.kill()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
