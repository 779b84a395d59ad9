package selftest_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/selftest"
)

// root is the module's folder.
const root = "../.."

func load(t *testing.T) []*selftest.Package {
	t.Helper()
	packages, err := selftest.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 5 {
		t.Fatalf("found %d packages below %s", len(packages), root)
	}
	return packages
}

func report(t *testing.T, found []selftest.Finding) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}

// run returns what a command says on its standard output.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s: %v\n%s", name, err, exit.Stderr)
		}
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func TestModuleKeepsTheRules(t *testing.T) {
	packages := load(t)
	for _, rule := range selftest.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, p := range packages {
				report(t, rule.Check(p))
			}
		})
	}
	t.Run("packages import what their layer may", func(t *testing.T) {
		for _, p := range packages {
			report(t, selftest.CheckLayers(p))
		}
	})
	t.Run("drivers have one shape", func(t *testing.T) {
		for _, p := range packages {
			if slices.Contains(selftest.Drivers(), p.Path) {
				report(t, selftest.CheckDriver(p))
			}
		}
	})
}

func TestModuleDependencies(t *testing.T) {
	required, err := selftest.ParseRequirements(run(t, "go", "mod", "edit", "-json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(required) == 0 {
		t.Fatal("go.mod requires nothing: it was not read")
	}
	list, err := os.ReadFile(filepath.Join(root, ".ci", "deps.txt"))
	if err != nil {
		t.Fatal(err)
	}
	report(t, selftest.CheckDependencies(required, list))
	report(t, selftest.CheckFloors(required, selftest.Floors()))
}

// TestEachDriverLinksItsOwn asks the go command what a program that imports one driver links.
func TestEachDriverLinksItsOwn(t *testing.T) {
	sasl := []string{"github.com/Azure/go-ntlmssp", "github.com/emersion/go-sasl", "github.com/xdg-go/stringprep", "golang.org/x/text"}
	links := map[string][]string{
		"connection": {},
		"ews":        append([]string{"golang.org/x/net"}, sasl...),
		"gmail": {
			"cloud.google.com/go/auth", "cloud.google.com/go/auth/oauth2adapt", "cloud.google.com/go/compute/metadata",
			"github.com/cespare/xxhash/v2", "github.com/felixge/httpsnoop", "github.com/go-logr/logr", "github.com/go-logr/stdr",
			"github.com/google/s2a-go", "github.com/google/uuid", "github.com/googleapis/enterprise-certificate-proxy",
			"github.com/googleapis/gax-go/v2", "go.opentelemetry.io/auto/sdk",
			"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/metric",
			"go.opentelemetry.io/otel/trace", "golang.org/x/crypto", "golang.org/x/net", "golang.org/x/oauth2", "golang.org/x/sys",
			"golang.org/x/text", "google.golang.org/api", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/grpc",
			"google.golang.org/protobuf",
		},
		"imapclient":            append([]string{"github.com/emersion/go-imap/v2", "github.com/emersion/go-message"}, sasl...),
		"pop3client":            sasl,
		"smtpclient":            sasl,
		"maildir":               {"github.com/fsnotify/fsnotify", "golang.org/x/sys"},
		"objectstore/filestore": {"golang.org/x/sys"},
		"objectstore/atmos":     {},
		"objectstore/b2":        {"github.com/Backblaze/blazer"},
		"objectstore/swift":     {"github.com/ncw/swift/v2"},
		"objectstore/s3": {
			"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "github.com/aws/aws-sdk-go-v2/service/s3",
			"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream", "github.com/aws/aws-sdk-go-v2/internal/configsources",
			"github.com/aws/aws-sdk-go-v2/internal/endpoints/v2", "github.com/aws/aws-sdk-go-v2/internal/v4a",
			"github.com/aws/aws-sdk-go-v2/service/internal/accept-encoding", "github.com/aws/aws-sdk-go-v2/service/internal/checksum",
			"github.com/aws/aws-sdk-go-v2/service/internal/presigned-url", "github.com/aws/aws-sdk-go-v2/service/internal/s3shared",
		},
		"objectstore/azureblob": {
			"github.com/Azure/azure-sdk-for-go/sdk/azcore", "github.com/Azure/azure-sdk-for-go/sdk/internal",
			"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", "github.com/Azure/azure-sdk-for-go/sdk/storage/internal",
			"github.com/apache/arrow-go/v18", "github.com/goccy/go-json", "github.com/google/flatbuffers", "github.com/klauspost/compress",
			"github.com/klauspost/cpuid/v2", "github.com/pierrec/lz4/v4", "github.com/zeebo/xxh3", "golang.org/x/exp", "golang.org/x/net",
			"golang.org/x/sys", "golang.org/x/text",
		},
	}
	for _, driver := range append(selftest.Drivers(), "connection") {
		t.Run(driver, func(t *testing.T) {
			allowed, ok := links[driver]
			if !ok {
				t.Fatal("this test has no line for it")
			}
			out := run(t, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./"+driver)
			for module := range strings.FieldsSeq(string(out)) {
				if !slices.Contains(allowed, module) {
					t.Errorf("links %s", module)
				}
			}
		})
	}
}

func TestRepositoryNamesNoMachine(t *testing.T) {
	var files int
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case !entry.Type().IsRegular() || entry.Name() == ".git": // a work tree has a file of that name
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files++
		if !strings.Contains(filepath.ToSlash(name), "internal/selftest/") { // the rule itself and its planted violations
			report(t, selftest.CheckText(name, bytes.ReplaceAll(text, []byte("\r"), nil)))
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("read %d files: %v", files, err)
	}
}

// TestEntryPointsHaveExamples looks for an Example in each package that programs begin with.
func TestEntryPointsHaveExamples(t *testing.T) {
	packages := append(selftest.Drivers(), "connection", "connection/alldrivers", "connection/connectiontest", "connection/journal",
		"connection/otelconn", "connection/schema", "imapclient/imaptest", "pop3client/pop3test", "smtpclient/smtptest", "ews/ewstest",
		"gmail/gmailtest", "objectstore/objecttest")
	example := regexp.MustCompile(`(?m)^func Example`)
	for _, name := range packages {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && example.Match(text)
		}) {
			t.Errorf("%s has no Example", name)
		}
	}
}
