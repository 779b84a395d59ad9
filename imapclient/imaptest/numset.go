package imaptest

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// star stands for "*", the largest number in use, until a set is resolved. It is not a valid message number.
const star = 0

type numRange struct{ first, last uint32 }

// numSet is a sequence set (RFC 3501, 9) of message numbers or UIDs.
type numSet []numRange

var errNumSet = errors.New("invalid sequence set")

func parseNumSet(text string) (numSet, error) {
	var set numSet
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, ":")
		a, err := parseSetNumber(first)
		if err != nil {
			return nil, err
		}
		b := a
		if isRange {
			if b, err = parseSetNumber(last); err != nil {
				return nil, err
			}
		}
		set = append(set, numRange{a, b})
	}
	return set, nil
}

func parseSetNumber(text string) (uint32, error) {
	if text == "*" {
		return star, nil
	}
	n, err := parseNumber(text)
	if err != nil || n == 0 || n > math.MaxUint32 {
		return 0, errNumSet
	}
	return uint32(n), nil
}

// parseNumber reads decimal digits and nothing else; strconv would take a sign.
func parseNumber(text string) (uint64, error) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, errors.New("number expected")
	}
	return strconv.ParseUint(text, 10, 63)
}

// resolve puts largest where the set says "*", and returns the ranges ascending and disjoint.
func (set numSet) resolve(largest uint32) numSet {
	out := make(numSet, 0, len(set))
	for _, r := range set {
		if r.first == star {
			r.first = largest
		}
		if r.last == star {
			r.last = largest
		}
		if r.first > r.last { // RFC 3501, 9: 4:2 is 2:4, so 999:* holds the last message
			r.first, r.last = r.last, r.first
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b numRange) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
	})
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && uint64(r.first) <= uint64(merged[n-1].last)+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// contains reports whether n is in a resolved set.
func (set numSet) contains(n uint32) bool {
	_, found := slices.BinarySearchFunc(set, n, func(r numRange, n uint32) int {
		switch {
		case r.last < n:
			return -1
		case r.first > n:
			return 1
		}
		return 0
	})
	return found
}

// formatUIDs writes UIDs in the order given as a set, consecutive ones as a range.
func formatUIDs(uids []uint32) string {
	var b []byte
	for i := 0; i < len(uids); {
		j := i
		for j+1 < len(uids) && uids[j+1] == uids[j]+1 {
			j++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(uids[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(uids[j]), 10)
		}
		i = j + 1
	}
	return string(b)
}
