package ewstest

import (
	"strconv"
	"strings"
	"time"
)

// A reading tells the value at a path, and whether the thing has one. known is false for a path that cannot be searched.
type reading func(path *node) (value string, has, known bool)

// matches evaluates a search expression.
func (s *Server) matches(expr *node, read reading) (bool, *fault) {
	switch expr.name {
	case "And", "Or":
		for _, k := range expr.kids {
			ok, bad := s.matches(k, read)
			if bad != nil || ok == (expr.name == "Or") {
				return ok, bad
			}
		}
		return expr.name == "And", nil
	case "Not":
		ok, bad := s.matches(expr.kids[0], read)
		return !ok, bad
	}
	value, has, known := read(expr.kids[0])
	if !known {
		return false, &fault{code: "ErrorUnsupportedPathForQuery", text: "The requested property is not supported for this operation."}
	}
	switch expr.name {
	case "Exists":
		return has, nil
	case "Contains":
		return has && contains(value, expr), nil
	case "Excludes":
		mask, err := strconv.ParseInt(expr.child("Bitmask").attr("Value"), 0, 64)
		n, err2 := strconv.ParseInt(value, 10, 64)
		return err == nil && err2 == nil && n&mask == 0, nil
	}
	operand := expr.find("FieldURIOrConstant").kids[0]
	constant := operand.attr("Value")
	if operand.name != "Constant" {
		constant, _, _ = read(operand)
	}
	order, bad := compare(value, constant)
	if bad != nil {
		return false, bad
	}
	orEqual := strings.HasSuffix(expr.name, "OrEqualTo")
	if orEqual && s.opts.Quirks.RefuseOrEqual {
		return false, &fault{code: "ErrorInvalidRestriction", text: "The restriction is invalid."}
	}
	switch strings.TrimSuffix(expr.name, "OrEqualTo") {
	case "IsEqualTo":
		return has && order == 0, nil
	case "IsNotEqualTo":
		return !has || order != 0, nil
	case "IsGreaterThan":
		return has && (order > 0 || orEqual && order == 0), nil
	default:
		return has && (order < 0 || orEqual && order == 0), nil
	}
}

// compare orders two values: as times if the constant is one, as numbers if both are, else as texts without regard to case.
func compare(value, constant string) (int, *fault) {
	if limit, err := time.Parse(time.RFC3339Nano, constant); err == nil {
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return 0, &fault{code: "ErrorInvalidValueForProperty", text: "The specified value is invalid for property."}
		}
		return at.Compare(limit), nil
	}
	a, err := strconv.ParseInt(value, 10, 64)
	b, err2 := strconv.ParseInt(constant, 10, 64)
	if err == nil && err2 == nil {
		return int(max(-1, min(1, a-b))), nil
	}
	return strings.Compare(strings.ToLower(value), strings.ToLower(constant)), nil
}

func contains(value string, expr *node) bool {
	constant := expr.child("Constant").attr("Value")
	if c := expr.attr("ContainmentComparison"); c != "" && c != "Exact" {
		value, constant = strings.ToLower(value), strings.ToLower(constant)
	}
	switch expr.attr("ContainmentMode") {
	case "FullString":
		return value == constant
	case "Prefixed":
		return strings.HasPrefix(value, constant)
	default:
		return strings.Contains(value, constant)
	}
}

// at tells the value of an item's property, as its node has it.
func (v *view) at(path *node) (value string, has, known bool) {
	if path.name == "ExtendedFieldURI" {
		nodes := v.extendedNodes([]*node{path})
		if len(nodes) == 0 {
			return "", false, true
		}
		return nodes[0].value("Value"), true, true
	}
	uri := path.attr("FieldURI")
	for _, p := range properties {
		if p.uri != uri || p.make == nil || !p.find {
			continue
		}
		n := p.make(v)
		if n == nil || p.mail && !v.it.isMail() {
			return "", false, true
		}
		if box := n.child("Mailbox"); box != nil {
			n = box.child("EmailAddress")
		}
		return n.text, true, len(n.kids) == 0
	}
	return "", false, false
}

// filterFolders keeps the folders that a search expression fits.
func (s *Server) filterFolders(all []*Folder, expr *node) ([]*Folder, *fault) {
	var kept []*Folder
	for _, f := range all {
		ok, bad := s.matches(expr, func(path *node) (string, bool, bool) {
			switch path.attr("FieldURI") {
			case "folder:DisplayName":
				return f.name, true, true
			case "folder:FolderClass":
				return f.class, f.class != "", true
			case "folder:TotalCount":
				return strconv.Itoa(f.live), true, true
			case "folder:ChildFolderCount":
				return strconv.Itoa(len(f.kids)), true, true
			}
			value, has := f.extended(path)
			return value, has, path.name == "ExtendedFieldURI"
		})
		if bad != nil {
			return nil, bad
		}
		if ok {
			kept = append(kept, f)
		}
	}
	return kept, nil
}
