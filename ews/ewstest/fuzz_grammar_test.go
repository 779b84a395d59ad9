package ewstest

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzGrammar holds anything against the schema. What is taken must be taken again when it is written anew.
func FuzzGrammar(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*.request.xml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", doc)
	}
	f.Add("Exchange2007", []byte(`<s:Envelope xmlns:s="`+nsSOAP+`"><s:Body/></s:Envelope>`))
	f.Fuzz(func(t *testing.T, version string, doc []byte) {
		if CheckRequest(version, doc) != nil {
			return
		}
		n, bad := parse(doc)
		if bad != nil {
			t.Fatalf("taken, and not well-formed: %v", bad)
		}
		kept := n.kids[:0]
		for _, k := range n.kids {
			if k.name == "Header" {
				k.kids = k.kids[:len(k.kids):len(k.kids)]
				own := k.kids[:0]
				for _, h := range k.kids {
					if h.space == nsTypes {
						own = append(own, h)
					}
				}
				k.kids = own
			}
			kept = append(kept, k)
		}
		n.kids = kept
		if err := CheckRequest(version, []byte(write(n))); err != nil {
			t.Errorf("written anew: %v\n%s", err, write(n))
		}
	})
}
