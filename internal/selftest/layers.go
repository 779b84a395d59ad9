package selftest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Layers says what each package may import besides the standard library, in the files that are not tests: packages of
// this module by their path below it, modules of others by their path. A package that is missing here is a finding, so
// every new dependency of a package is somebody's decision.
//
// connection imports nothing, drivers never import each other, and a program that imports one driver links no other's
// dependencies.
func Layers() map[string][]string {
	network := []string{"connection", "internal/netx", "internal/saslx", "internal/backoff", "internal/wirelog", emersionSASL}
	engine := func(library ...string) []string {
		return append([]string{"connection", "objectstore", "internal/backoff", "internal/httpx", "internal/probe"}, library...)
	}
	return map[string][]string{
		"":                          {},
		"connection":                {},
		"connection/connectiontest": {"connection"},
		"connection/journal":        {"connection"},
		"connection/otelconn":       {"connection", "go.opentelemetry.io/otel"},
		"connection/schema":         {"connection", "github.com/google/jsonschema-go"},
		"connection/alldrivers":     append([]string{"connection"}, Drivers()...),

		"internal/backoff":    {},
		"internal/wirelog":    {"connection"},
		"internal/netx":       {"connection", "internal/wirelog", "internal/backoff"},
		"internal/probe":      {"connection"},
		"internal/httpx":      {"connection", "internal/netx", "internal/probe"},
		"internal/doctest":    {},
		"internal/mailheader": {},
		"internal/doubles":    {"connection"},
		"internal/drivertest": {"connection", "internal/rss"},
		"internal/rss":        {},
		"internal/utf7":       {},
		"internal/saslx":      {"connection", emersionSASL, "github.com/Azure/go-ntlmssp", "github.com/xdg-go/stringprep"},
		"internal/peertest":   {},
		"internal/selftest":   {},

		"internal/drivertest/reader": {"connection"},

		"internal/saslx/saslserver": {},
		"internal/selftest/apilist": {"internal/selftest"},

		"imapclient":          append([]string{"github.com/emersion/go-imap/v2", "imapclient/internal/inflate", "internal/utf7"}, network...),
		"imapclient/imaptest": {"connection", "internal/doubles", "imapclient", "imapclient/internal/inflate", "internal/saslx", "internal/saslx/saslserver", "internal/utf7"},

		"imapclient/internal/inflate": {},

		"pop3client":          network,
		"pop3client/pop3test": {"connection", "internal/doubles", "pop3client", "internal/saslx", "internal/saslx/saslserver"},

		"smtpclient":          network,
		"smtpclient/smtptest": {"connection", "internal/doubles", "smtpclient", "internal/saslx", "internal/saslx/saslserver"},

		"ews": {
			"connection", "connection/journal", "internal/backoff", "internal/httpx", "internal/mailheader", "internal/netx", "internal/probe", "internal/saslx",
			"internal/wirelog", "ews/internal/autodiscover", "ews/internal/ewshttp", "ews/internal/soap",
		},
		"ews/ewstest":               {"connection", "ews", "internal/doubles", "internal/saslx/saslserver"},
		"ews/internal/autodiscover": {"connection", "internal/backoff", "golang.org/x/net"},
		"ews/internal/ewshttp":      append([]string{"github.com/Azure/go-ntlmssp", "internal/httpx"}, network...),
		"ews/internal/soap":         {"connection"},

		"gmail": {
			"connection", "internal/backoff", "internal/httpx", "internal/mailheader", "internal/netx", "internal/probe", "internal/wirelog",
			"gmail/internal/audit", "gmail/internal/quota", "gmail/internal/raw", "gmail/internal/token", googleAPI, "golang.org/x/oauth2",
		},
		"gmail/gmailtest":      {"connection", "gmail", "internal/doubles"},
		"gmail/internal/audit": {"connection", "internal/httpx"},
		"gmail/internal/quota": {"connection", "internal/backoff", "internal/httpx", "internal/wirelog"},
		"gmail/internal/raw":   {"connection"},
		"gmail/internal/token": {"connection", "internal/backoff", "internal/httpx", "internal/wirelog", googleAPI, "golang.org/x/oauth2"},

		"maildir":             {"connection", "internal/backoff", "internal/utf7", "github.com/fsnotify/fsnotify", "golang.org/x/sys"},
		"maildir/maildirtest": {"connection", "maildir"},

		"objectstore":            {"connection", "internal/backoff"},
		"objectstore/objecttest": {"connection", "objectstore"},
		"objectstore/filestore":  {"connection", "objectstore", "internal/backoff", "internal/probe", "golang.org/x/sys"},

		"objectstore/atmos":     engine(),
		"objectstore/azureblob": engine("github.com/Azure/azure-sdk-for-go/sdk/azcore", "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"),
		"objectstore/b2":        engine("github.com/Backblaze/blazer"),
		"objectstore/s3":        engine("github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"),
		"objectstore/swift":     engine("github.com/ncw/swift/v2"),
	}
}

const (
	emersionSASL = "github.com/emersion/go-sasl"
	googleAPI    = "google.golang.org/api"
)

// Drivers names the packages that export Config, Open and Driver.
func Drivers() []string {
	return []string{
		"ews", "gmail", "imapclient", "maildir", "objectstore/atmos", "objectstore/azureblob", "objectstore/b2", "objectstore/filestore",
		"objectstore/s3", "objectstore/swift", "pop3client", "smtpclient",
	}
}

// CheckLayers holds p against [Layers]. Programs may import what they like.
func CheckLayers(p *Package) []Finding {
	if first, _, _ := strings.Cut(p.Path, "/"); first == "examples" || first == "bench" || len(p.Code()) == 0 {
		return nil
	}
	allowed, ok := Layers()[p.Path]
	if !ok {
		return []Finding{p.find(p.Code()[0].Package, "package %s has no line in selftest.Layers", p.Path)}
	}
	var found []Finding
	for _, f := range p.Code() {
		for _, spec := range f.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			if standard(target) || permitted(target, allowed) {
				continue
			}
			found = append(found, p.find(spec.Pos(), "%s may not import %s", p.Path, target))
		}
	}
	return found
}

// standard reports whether target is a package of the standard library: those have no dot before the first slash.
func standard(target string) bool {
	first, _, _ := strings.Cut(target, "/")
	return !strings.Contains(first, ".")
}

// permitted reports whether one of allowed covers target: a package of this module exactly, another module whole.
func permitted(target string, allowed []string) bool {
	if own, ok := strings.CutPrefix(target, modulePath+"/"); ok {
		return slices.Contains(allowed, own)
	}
	return slices.ContainsFunc(allowed, func(module string) bool {
		return target == module || strings.HasPrefix(target, module+"/")
	})
}

// CheckDriver holds a driver package against the shape that all have in common: Config, Open, Driver and Conn.
func CheckDriver(p *Package) []Finding {
	declared := make(map[string]bool)
	for _, f := range p.Code() {
		for name := range exported(f) {
			declared[name] = true
		}
	}
	var found []Finding
	for _, want := range []string{"type Config", "type Conn", "func Open", "func Driver"} {
		if !declared[want] {
			found = append(found, Finding{Where: p.Path, What: "has no exported " + want})
		}
	}
	return append(found, checkRooms(p)...)
}

// checkRooms says where a verb of Conn does not stand in the file of its name: who knows one driver finds it in all.
func checkRooms(p *Package) []Finding {
	rooms := map[string]string{
		"Info": "conn.go", "Close": "conn.go", "Test": "test.go", "Fetch": "fetch.go", "Delete": "delete.go", "Open": "open.go",
		"Sync": "sync.go", "Append": "append.go", "Send": "send.go", "Folders": "folders.go", "Mailboxes": "mailboxes.go",
	}
	var found []Finding
	for _, f := range p.Code() {
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			want := ""
			switch {
			case fn.Recv == nil && fn.Name.Name == "Open":
				want = "conn.go"
			case fn.Recv != nil && len(fn.Recv.List) == 1 && receiver(fn) == "Conn":
				want = rooms[fn.Name.Name]
			}
			where := p.find(fn.Pos(), "%s belongs into %s", fn.Name.Name, want)
			if file, _, _ := strings.Cut(path.Base(where.Where), ":"); want != "" && file != want {
				found = append(found, where)
			}
		}
	}
	return found
}
