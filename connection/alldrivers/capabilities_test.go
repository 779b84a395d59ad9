package alldrivers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/objectstore"
)

// capabilityTable draws what the engines of the sample settings can do, as the comment of package objectstore shows it.
func capabilityTable(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob(samples)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		settings, err := connection.ParseSettings(data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := alldrivers.New().Open(settings, nil)
		if err != nil {
			t.Fatal(err)
		}
		if store, ok := c.(interface {
			Capabilities() objectstore.Capabilities
		}); ok {
			k := store.Capabilities()
			row := fmt.Sprintf("//	%-21s", c.Info().Driver)
			for _, can := range []bool{k.IfAbsent, k.Meta, k.Class, k.Lock, k.Parts, k.BulkDelete, k.Copy, k.Restore, k.Presign, k.Incomplete} {
				row += fmt.Sprintf("%-9s", map[bool]string{true: "yes", false: "-"}[can])
			}
			rows[c.Info().Driver] = strings.TrimRight(row, " ")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	head := fmt.Sprintf("//	%-21s", "")
	for _, name := range []string{"absent", "meta", "class", "lock", "parts", "bulk", "copy", "restore", "presign", "remains"} {
		head += fmt.Sprintf("%-9s", name)
	}
	table := []string{strings.TrimRight(head, " ")}
	for _, driver := range []string{"s3", "b2", "azureblob", "swift", "rackspace-cloudfiles", "atmos", "file"} {
		if rows[driver] == "" {
			t.Errorf("no sample settings of %s", driver)
		}
		table = append(table, rows[driver])
		delete(rows, driver)
	}
	for driver := range rows {
		t.Errorf("the table has no place for %s", driver)
	}
	return strings.Join(slices.DeleteFunc(table, func(s string) bool { return s == "" }), "\n")
}

func TestCapabilityTableIsTrue(t *testing.T) {
	doc, err := os.ReadFile("../../objectstore/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if table := capabilityTable(t); !strings.Contains(string(doc), table) {
		t.Errorf("objectstore/doc.go should say:\n%s", table)
	}
}
