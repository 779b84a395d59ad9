package ewstest

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// The most items in a page of FindItem: without and with a restriction or query.
const (
	findCap  = 1000
	queryCap = 250
)

// opFindItem is FindItem.
func opFindItem(s *Server, req *request) *reply {
	var messages []*node
	for _, id := range req.op.child("ParentFolderIds").children() {
		f, bad := s.folder(req, id)
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		root, bad := s.find(req, f)
		if bad != nil {
			messages = append(messages, req.failure(bad))
			continue
		}
		messages = append(messages, req.success(root))
	}
	return req.answer(messages...)
}

// find makes the RootFolder of a search in f.
func (s *Server) find(req *request, f *Folder) (*node, *fault) {
	found, bad := s.search(req, f)
	if bad != nil {
		return nil, bad
	}
	if bad = s.arrange(found, req.op.child("SortOrder")); bad != nil {
		return nil, bad
	}
	total := len(found)
	offset, limit, bad := viewOf(req.op.child("IndexedPageItemView"), total)
	if bad != nil {
		return nil, bad
	}
	limited := req.op.child("Restriction") != nil || req.op.child("QueryString") != nil
	if v := req.op.child("FractionalPageItemView"); v != nil {
		offset = total * number32(v.attr("Numerator")) / max(1, number32(v.attr("Denominator")))
		limit = cmpInt(number32(v.attr("MaxEntriesReturned")), total)
	}
	limit = min(limit, findCap)
	if limited {
		limit = min(limit, queryCap)
	}
	if s.opts.Quirks.ShortPages {
		limit = max(1, limit/2)
	}
	begin := min(offset, total)
	end := min(total, begin+limit)
	next, last := offset+end-begin, end == total
	if s.opts.Quirks.StuckOffset {
		begin, end, next, last = 0, 0, offset, false
	}
	if s.opts.Quirks.ZeroOffset && !last {
		next = 0
	}
	sh := readShape(req.op.child("ItemShape"))
	items := typ("Items")
	for _, it := range found[begin:end] {
		items.add(s.itemNode(it, sh, true))
	}
	root := msg("RootFolder", items).with("IndexedPagingOffset", strconv.Itoa(next)).with("TotalItemsInView", strconv.Itoa(total)).
		with("IncludesLastItemInRange", strconv.FormatBool(last))
	if s.opts.Quirks.Groups {
		root.add(typ("Groups"))
	}
	return root, nil
}

// search returns the items of f that the request wants. One with several categories is there for each of them.
func (s *Server) search(req *request, f *Folder) ([]*item, *fault) {
	if req.op.attr("Traversal") != "Shallow" {
		return nil, nil // there are neither soft-deleted nor associated items
	}
	if q := req.op.child("QueryString"); q != nil && !s.opts.Quirks.IgnoreQuery {
		return nil, &fault{code: "ErrorInvalidOperation", text: "This server searches by restrictions only."}
	}
	var found []*item
	r := req.op.child("Restriction")
	for it := range f.all() {
		if r != nil {
			v := &view{s: s, it: it}
			ok, bad := s.matches(r.kids[0], v.at)
			if bad != nil {
				return nil, bad
			}
			if !ok {
				continue
			}
		}
		found = append(found, it)
		if it.more != nil {
			for i := 1; i < len(it.more.categories); i++ {
				found = append(found, it)
			}
		}
	}
	return found, nil
}

// arrange sorts items. Without an order theirs is arbitrary, but always the same.
func (s *Server) arrange(found []*item, order *node) *fault {
	if order == nil {
		slices.SortStableFunc(found, func(a, b *item) int { return cmp.Compare(s.shuffled(a), s.shuffled(b)) })
		return nil
	}
	by := order.kids[0]
	descending := by.attr("Order") == "Descending"
	var sorted func(a, b *item) int
	switch by.kids[0].attr("FieldURI") {
	case "item:DateTimeReceived":
		sorted = func(a, b *item) int { return a.received.Compare(b.received) }
	case "item:LastModifiedTime":
		sorted = func(a, b *item) int { return a.modified.Compare(b.modified) }
	case "item:Size":
		sorted = func(a, b *item) int { return cmp.Compare(a.body.Size(), b.body.Size()) }
	case "item:Subject":
		sorted = func(a, b *item) int { return cmp.Compare(a.facts().text("Subject"), b.facts().text("Subject")) }
	default:
		return &fault{code: "ErrorUnsupportedPathForSortGroup", text: "The path cannot be used for sorting."}
	}
	slices.SortStableFunc(found, func(a, b *item) int {
		if descending {
			a, b = b, a
		}
		return sorted(a, b)
	})
	return nil
}

func (s *Server) shuffled(it *item) uint64 {
	h := fnv.New64a()
	for n := it.n ^ s.opts.Seed; n > 0; n >>= 8 {
		_, _ = h.Write([]byte{byte(n)}) // a hash takes everything
	}
	return h.Sum64()
}
