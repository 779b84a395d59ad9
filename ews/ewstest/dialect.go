package ewstest

import "math/rand/v2"

// A Dialect is how answers are written, within what XML permits and servers do. The zero Dialect is Exchange's own. The
// same answer says the same in every dialect, but for Base64Empty and Base64Absent, for faults whose layout leaves their
// code out, and for Dirt.
type Dialect struct {
	Prefixes     Prefixes
	Declaration  Declaration
	BOM          bool // a byte order mark of UTF-8
	Pretty       bool // a line for each element
	CRLF         bool // line ends of CR LF in place of LF
	SingleQuotes bool // around attributes
	Comments     bool // and processing instructions, between elements and within text
	CDATA        bool // in place of escaped text
	Spaces       bool // white space around codes
	Extra        bool // elements and attributes that nobody knows
	Nested       bool // attachments with messages in them, each with a MimeContent of its own
	NoGzip       bool // also for clients that accept it
	Server       ServerInfo
	Base64       Base64
	Faults       FaultLayout
	FaultStatus  int // of HTTP, for faults; 0 = 500
	Dirt         Dirt
	Seed         uint64 // decides where comments, extras and the like are
}

// Prefixes are the names of namespaces.
type Prefixes uint8

// The sets of prefixes.
const (
	PrefixSMT     Prefixes = iota // s: t: m:
	PrefixSOAP                    // SOAP: T: M:
	PrefixSOAP11                  // soap11: ns1: ns2:
	PrefixAEH                     // e: a: h:
	PrefixDefault                 // none: default namespaces
)

// Declaration is how a document begins.
type Declaration uint8

// The declarations.
const (
	DeclareUTF8  Declaration = iota // <?xml version="1.0" encoding="utf-8"?>
	DeclareNone                     // none
	DeclareXML11                    // XML 1.1
	DeclareUTF16                    // UTF-16, though it is UTF-8
)

// ServerInfo is how the ServerVersionInfo looks.
type ServerInfo uint8

// The forms of ServerVersionInfo.
const (
	ServerInfoUsual     ServerInfo = iota
	ServerInfoPadded               // numbers such as 01 and 042
	ServerInfoNoVersion            // without the attribute Version
	ServerInfoAbsent
)

// Base64 is how the content of messages is written.
type Base64 uint8

// The forms of base64.
const (
	Base64Plain Base64 = iota
	Base64LF
	Base64CRLF
	Base64References // &#xD; and LF
	Base64Spaces
	Base64Tabs
	Base64NoPadding
	Base64CDATA
	Base64Empty  // nothing, in an element
	Base64Absent // no element
)

// FaultLayout is how a SOAP fault is laid out.
type FaultLayout uint8

// The layouts of faults.
const (
	FaultUsual     FaultLayout = iota // as the version does
	FaultUnprefix                     // the code in faultcode has no prefix
	FaultGeneric                      // faultcode is soap11:Client, the code is in detail alone
	FaultNoDetail                     // the code is in faultcode alone
	FaultFirstText                    // faultstring and detail before faultcode
	FaultNoCode                       // no code anywhere, faultcode is Server
	FaultEmpty                        // an element Fault without anything
)

// Dirt is what no XML document may hold, and those of Exchange do. It stands in what people wrote: subjects, names of
// folders, persons and attachments.
type Dirt uint8

// The kinds of dirt.
const (
	DirtReferences Dirt = 1 << iota // &#x0; &#x1A; &#xFFFE; &#xD800;
	DirtControls                    // octet 0x01
	DirtUTF8                        // octets that are no UTF-8
	DirtNonchars                    // U+FFFE
)

// SetDialect changes how answers are written from now on.
func (s *Server) SetDialect(d Dialect) {
	s.styleMu.Lock()
	defer s.styleMu.Unlock()
	s.dialect = d
}

// SetShred changes how answers are cut up from now on.
func (s *Server) SetShred(sh Shred) {
	s.styleMu.Lock()
	defer s.styleMu.Unlock()
	s.shred = sh
}

func (s *Server) style() (Dialect, Shred) {
	s.styleMu.Lock()
	defer s.styleMu.Unlock()
	s.styled++
	d, sh := s.dialect, s.shred
	d.Seed += s.styled
	sh.Seed += s.styled
	return d, sh
}

// Dialects are dialects by names that say the same and differ in one thing each, and some that differ in several: the lines
// of a test matrix.
func Dialects() map[string]Dialect {
	return map[string]Dialect{
		"plain":              {},
		"prefixes SOAP":      {Prefixes: PrefixSOAP},
		"prefixes soap11":    {Prefixes: PrefixSOAP11},
		"prefixes a e h":     {Prefixes: PrefixAEH},
		"default namespaces": {Prefixes: PrefixDefault},
		"no declaration":     {Declaration: DeclareNone},
		"XML 1.1":            {Declaration: DeclareXML11},
		"utf-16 declared":    {Declaration: DeclareUTF16},
		"byte order mark":    {BOM: true},
		"pretty":             {Pretty: true},
		"pretty CRLF":        {Pretty: true, CRLF: true},
		"single quotes":      {SingleQuotes: true},
		"comments":           {Comments: true},
		"CDATA":              {CDATA: true},
		"spaces":             {Spaces: true},
		"extra":              {Extra: true},
		"nested":             {Nested: true},
		"no gzip":            {NoGzip: true},
		"padded numbers":     {Server: ServerInfoPadded},
		"no Version":         {Server: ServerInfoNoVersion},
		"no server info":     {Server: ServerInfoAbsent},
		"base64 LF":          {Base64: Base64LF},
		"base64 CRLF":        {Base64: Base64CRLF},
		"base64 references":  {Base64: Base64References},
		"base64 spaces":      {Base64: Base64Spaces},
		"base64 tabs":        {Base64: Base64Tabs},
		"base64 no padding":  {Base64: Base64NoPadding},
		"base64 CDATA":       {Base64: Base64CDATA},
		"faults at 200":      {FaultStatus: 200, Faults: FaultNoDetail},
		"everything": {
			Prefixes: PrefixDefault, BOM: true, Pretty: true, CRLF: true, SingleQuotes: true, Comments: true, CDATA: true,
			Spaces: true, Extra: true, Nested: true, Base64: Base64References, Faults: FaultFirstText,
		},
	}
}

// RandomDialect returns a dialect that says the same as the others, by a seed.
func RandomDialect(seed uint64) Dialect {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // tests want to be repeated
	yes := func() bool { return rng.IntN(2) == 0 }
	return Dialect{
		Prefixes: Prefixes(rng.IntN(int(PrefixDefault) + 1)), Declaration: Declaration(rng.IntN(int(DeclareUTF16) + 1)), //nolint:gosec // small
		BOM: yes(), Pretty: yes(), CRLF: yes(), SingleQuotes: yes(), Comments: yes(), CDATA: yes(), Spaces: yes(), Extra: yes(), Nested: yes(), NoGzip: yes(),
		Server: ServerInfo(rng.IntN(int(ServerInfoAbsent) + 1)), Base64: Base64(rng.IntN(int(Base64CDATA) + 1)), //nolint:gosec // small
		Faults: FaultLayout(rng.IntN(int(FaultFirstText) + 1)), FaultStatus: 200 + 300*rng.IntN(2), Seed: seed, //nolint:gosec // small
	}
}
