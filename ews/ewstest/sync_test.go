package ewstest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// sync runs SyncFolderItems on the inbox until the last page. It returns what was told, as "Create <id>", and the state.
func (c *client) sync(state string, most int) (told []string, next string) {
	c.t.Helper()
	for range 100 {
		page := c.ok(`<m:SyncFolderItems>%s<m:SyncFolderId>%s</m:SyncFolderId><m:SyncState>%s</m:SyncState><m:MaxChangesReturned>%d</m:MaxChangesReturned></m:SyncFolderItems>`,
			idOnly, inbox, state, most)[0]
		for _, change := range page.at("Changes").Kids {
			told = append(told, change.XMLName.Local+" "+change.all("ItemId")[0].attr("Id"))
		}
		state = page.text("SyncState")
		if page.text("IncludesLastItemInRange") == "true" {
			return told, state
		}
	}
	c.t.Fatal("the sync has no end")
	return nil, ""
}

func prefixed(prefix string, ids []string) []string {
	var all []string
	for _, id := range ids {
		all = append(all, prefix+" "+id)
	}
	return all
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestSyncTellsExactlyWhatChanged(t *testing.T) {
	for _, order := range []ewstest.SyncOrder{ewstest.OldestFirst, ewstest.NewestFirst} {
		t.Run(string(order), func(t *testing.T) {
			_, alice, c := alone(t, &ewstest.Options{SyncOrder: order})
			ids := alice.Deliver("Inbox", message("a"), message("b"), message("c"), message("d"), message("e"))
			told, state := c.sync("", 2)
			if order == ewstest.NewestFirst {
				slices.Reverse(told)
			}
			same(t, "first sync", told, prefixed("Create", ids))
			told, state = c.sync(state, 2)
			same(t, "nothing new", told, nil)

			alice.SetRead(ids[0])
			alice.Touch(ids[1])
			alice.Touch(ids[1])
			alice.Remove(ids[2])
			moved := alice.Move(ids[3], "Archive")
			passing := alice.Deliver("Inbox", message("f"))
			alice.Remove(passing...)
			fresh := alice.Deliver("Inbox", message("g"))
			alice.SetRead(fresh...)
			told, state = c.sync(state, 2)
			slices.Sort(told)
			want := []string{"Create " + fresh[0], "Delete " + ids[2], "Delete " + ids[3], "ReadFlagChange " + ids[0], "Update " + ids[1]}
			slices.Sort(want)
			same(t, "changes", told, want)
			if moved == ids[3] {
				t.Error("a move keeps the id")
			}
			told, _ = c.sync(state, 512)
			same(t, "nothing more", told, nil)
		})
	}
}

func TestSyncOrderIsThatOfTheVersion(t *testing.T) {
	for version, newest := range map[string]bool{"2010_SP1": false, "2010_SP2": true, "2016": true} {
		_, alice, c := alone(t, &ewstest.Options{Version: version})
		c.version = "Exchange2010"
		ids := alice.Deliver("Inbox", message("a"), message("b"))
		told, _ := c.sync("", 512)
		equal(t, version, told[0] == "Create "+ids[1], newest)
	}
}

func TestSyncStatesAreGoodForOneFolder(t *testing.T) {
	srv, alice, c := alone(t, nil)
	bob := srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: password})
	bob.Deliver("Inbox", message("b"))
	alice.Deliver("Inbox", message("a"))
	_, state := c.sync("", 512)
	const hierarchy = `<m:SyncFolderHierarchy><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:SyncFolderId><t:DistinguishedFolderId Id="%s"/></m:SyncFolderId><m:SyncState>%s</m:SyncState></m:SyncFolderHierarchy>`
	const items = `<m:SyncFolderItems>` + idOnly + `<m:SyncFolderId><t:DistinguishedFolderId Id="%s"/></m:SyncFolderId><m:SyncState>%s</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>`
	folders := c.ok(hierarchy, "msgfolderroot", "")[0].text("SyncState")
	_, ofBob := newClient(t, srv, "bob@corp.test").sync("", 512)
	const code = "ErrorInvalidSyncStateData"
	c.fails(code, items, "inbox", "junk")
	c.fails(code, items, "drafts", state)
	c.fails(code, items, "inbox", folders)
	c.fails(code, items, "inbox", ofBob)
	c.fails(code, items, "inbox", state[:len(state)-8])
	c.fails(code, hierarchy, "msgfolderroot", state)
	c.fails(code, hierarchy, "root", folders)
	c.ok(items, "inbox", state)
	alice.ExpireSyncStates()
	c.fails(code, items, "inbox", state)
	c.fails(code, hierarchy, "msgfolderroot", folders)
}

func TestSilentResync(t *testing.T) {
	_, alice, c := alone(t, &ewstest.Options{SilentResync: true})
	ids := alice.Deliver("Inbox", message("a"))
	told, _ := c.sync("junk", 512)
	same(t, "everything from zero", told, prefixed("Create", ids))
}

func TestSyncQuirks(t *testing.T) {
	const items = `<m:SyncFolderItems>` + idOnly + `<m:SyncFolderId>` + inbox + `</m:SyncFolderId><m:SyncState>%s</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>`
	t.Run("never last", func(t *testing.T) {
		_, _, c := alone(t, &ewstest.Options{Quirks: ewstest.Quirks{NeverLast: true}})
		first := c.ok(items, "")[0]
		second := c.ok(items, first.text("SyncState"))[0]
		equal(t, "state", second.text("SyncState"), first.text("SyncState"))
		equal(t, "last", second.text("IncludesLastItemInRange"), "false")
	})
	t.Run("an empty page first", func(t *testing.T) {
		_, alice, c := alone(t, &ewstest.Options{Quirks: ewstest.Quirks{EmptyPages: true}})
		ids := alice.Deliver("Inbox", message("a"))
		first := c.ok(items, "")[0]
		equal(t, "changes", len(first.at("Changes").Kids), 0)
		equal(t, "last", first.text("IncludesLastItemInRange"), "false")
		told, _ := c.sync(first.text("SyncState"), 512)
		same(t, "then", told, prefixed("Create", ids))
	})
	t.Run("twice", func(t *testing.T) {
		_, alice, c := alone(t, &ewstest.Options{Quirks: ewstest.Quirks{Twice: true}})
		ids := alice.Deliver("Inbox", message("a"))
		told, _ := c.sync("", 512)
		same(t, "told", told, prefixed("Create", []string{ids[0], ids[0]}))
	})
	t.Run("read flags as updates", func(t *testing.T) {
		_, alice, c := alone(t, &ewstest.Options{Quirks: ewstest.Quirks{ReadAsUpdate: true}})
		ids := alice.Deliver("Inbox", message("a"))
		_, state := c.sync("", 512)
		alice.SetRead(ids...)
		told, _ := c.sync(state, 512)
		same(t, "told", told, prefixed("Update", ids))
	})
	t.Run("pages and states as the server likes", func(t *testing.T) {
		_, alice, c := alone(t, &ewstest.Options{SyncCap: 2, StateSize: 1 << 20})
		alice.Deliver("Inbox", message("a"), message("b"), message("c"))
		page := c.ok(items, "")[0]
		equal(t, "changes", len(page.at("Changes").Kids), 2)
		if n := len(page.text("SyncState")); n < 1<<20 {
			t.Errorf("a state of %d octets", n)
		}
		c.ok(items, page.text("SyncState"))
	})
	t.Run("shuffled", func(t *testing.T) {
		_, alice, c := alone(t, &ewstest.Options{SyncOrder: ewstest.Shuffled})
		var all [][]byte
		for i := range 50 {
			all = append(all, message(fmt.Sprint(i)))
		}
		ids := alice.Deliver("Inbox", all...)
		told, _ := c.sync("", 512)
		if slices.Equal(told, prefixed("Create", ids)) {
			t.Error("the order is that of arrival")
		}
		slices.Sort(told)
		want := prefixed("Create", ids)
		slices.Sort(want)
		same(t, "all", told, want)
	})
}

func TestSyncFolderHierarchy(t *testing.T) {
	_, alice, c := alone(t, nil)
	shape := `<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="folder:DisplayName"/></t:AdditionalProperties></m:FolderShape>`
	step := func(state string) (told []string, next string) {
		t.Helper()
		page := c.ok(`<m:SyncFolderHierarchy>%s<m:SyncFolderId><t:DistinguishedFolderId Id="msgfolderroot"/></m:SyncFolderId><m:SyncState>%s</m:SyncState></m:SyncFolderHierarchy>`, shape, state)[0]
		for _, change := range page.at("Changes").Kids {
			name := ""
			if names := change.all("DisplayName"); len(names) > 0 {
				name = names[0].Text
			}
			told = append(told, strings.TrimSpace(change.XMLName.Local+" "+name))
		}
		equal(t, "last", page.text("IncludesLastFolderInRange"), "true")
		return told, page.text("SyncState")
	}
	told, state := step("")
	if !slices.Contains(told, "Create Inbox") || slices.Contains(told, "Create Purges") || slices.Contains(told, "Create Top of Information Store") {
		t.Errorf("first: %v", told)
	}
	a := alice.Folder("A")
	b := alice.Folder("A/B")
	alice.Folder("Brief").Delete()
	a.Add("x/y")
	told, state = step(state)
	same(t, "new folders", told, []string{"Create A", "Create B", "Create x/y"})
	b.Rename("C")
	b.Rename("D")
	told, state = step(state)
	same(t, "renamed", told, []string{"Update D"})
	a.Delete()
	told, state = step(state)
	same(t, "deleted", told, []string{"Delete", "Delete", "Delete"})
	told, _ = step(state)
	same(t, "nothing new", told, nil)
}

func TestSearchAndPublicFoldersCannotBeSynchronised(t *testing.T) {
	srv, alice, c := alone(t, nil)
	public := srv.PublicFolders().Folder("News")
	public.Deliver(message("p"))
	for _, f := range []*ewstest.Folder{alice.Folder("Found").Search(), public} {
		c.fails("ErrorInvalidFolderTypeForOperation", `<m:SyncFolderItems>%s<m:SyncFolderId><t:FolderId Id="%s"/></m:SyncFolderId><m:MaxChangesReturned>1</m:MaxChangesReturned></m:SyncFolderItems>`, idOnly, f.ID())
	}
	got := c.ok(`<m:FindItem Traversal="Shallow">%s<m:ParentFolderIds><t:FolderId Id="%s"/></m:ParentFolderIds></m:FindItem>`, idOnly, public.ID())[0]
	equal(t, "items", len(got.all("Message")), 1)
	for _, how := range []string{"SoftDelete", "MoveToDeletedItems", "HardDelete"} {
		c.ok(`<m:DeleteItem DeleteType="%s">%s</m:DeleteItem>`, how, itemIDs(public.Deliver(message("q"))...))
	}
	equal(t, "left", len(public.Messages()), 1)
	found := c.ok(`<m:FindFolder Traversal="Shallow"><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:ParentFolderIds><t:DistinguishedFolderId Id="publicfoldersroot"/></m:ParentFolderIds></m:FindFolder>`)[0]
	equal(t, "public folder", found.text("RootFolder", "Folders", "Folder", "DisplayName"), "News")
}

func TestFolderDeletedInMidSync(t *testing.T) {
	_, alice, c := alone(t, nil)
	f := alice.Folder("Gone")
	f.Deliver(message("a"))
	id := f.ID()
	const items = `<m:SyncFolderItems>` + idOnly + `<m:SyncFolderId><t:FolderId Id="%s"/></m:SyncFolderId><m:SyncState>%s</m:SyncState><m:MaxChangesReturned>1</m:MaxChangesReturned></m:SyncFolderItems>`
	state := c.ok(items, id, "")[0].text("SyncState")
	f.Delete()
	c.fails("ErrorSyncFolderNotFound", items, id, state)
	c.fails("ErrorFolderNotFound", `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds><t:FolderId Id="%s"/></m:FolderIds></m:GetFolder>`, id)
}
