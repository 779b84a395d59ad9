package journal

import "strings"

// maxName is how much of a person's name may stand before a comma.
const maxName = 256

// addRecipients adds those of a field's value: addresses, each followed by how the message came there if that was not
// straight. Exchange 2007 and later have one in a line, Exchange 2003 has lines of them.
func (r *Report) addRecipients(kind, value string) {
	begin := len(r.Recipients)
	for line := range strings.SplitSeq(value, "\n") {
		name := "" // what came before a comma in a name that is not quoted: "Doe, John <john@example.org>"
		for token := range split(line) {
			redirection, source, redirected := strings.Cut(token, ":")
			if len(r.Recipients) > maxFields {
				return // too many; Unwrap says so
			}
			switch {
			case token == "":
			case redirected && isRedirection(redirection):
				if last := len(r.Recipients) - 1; last >= begin {
					r.Recipients[last].redirect(redirection, address(source))
				}
			case name != "" && len(name) < maxName && strings.HasSuffix(token, ">"):
				name = ""
				r.Recipients = append(r.Recipients, Recipient{Address: address(token), Kind: kind})
			case strings.ContainsAny(token, "@/="), len(name) >= maxName:
				if name != "" {
					r.Recipients = append(r.Recipients, Recipient{Address: address(name), Kind: kind})
					name = ""
				}
				r.Recipients = append(r.Recipients, Recipient{Address: address(token), Kind: kind})
			default:
				name = strings.TrimPrefix(name+", "+token, ", ")
			}
		}
		if name != "" {
			r.Recipients = append(r.Recipients, Recipient{Address: address(name), Kind: kind})
		}
	}
}

// isRedirection tells "Expanded: team@example.org" from "SMTP:team@example.org".
func isRedirection(word string) bool {
	if strings.ContainsAny(word, `@"</= `) {
		return false
	}
	return !strings.EqualFold(word, "smtp") && !strings.EqualFold(word, "mailto")
}

// redirect notes how the message came to a recipient. A word that is not known says no more than the field does.
func (to *Recipient) redirect(word, source string) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "expanded":
		to.Expanded = source
	case "forwarded":
		to.Forwarded = source
	}
}

// split yields the parts of a list, without the white space around them. Commas and semicolons in quotes and in angle
// brackets are no separators.
func split(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		lastQuote, lastBracket := strings.LastIndexByte(list, '"'), strings.LastIndexByte(list, '>')
		begin, quoted, bracket := 0, false, false
		for i := 0; i < len(list); i++ {
			switch c := list[i]; {
			case c == '\\' && quoted:
				i++
			case c == '"' && (quoted || i < lastQuote):
				quoted = !quoted
			case quoted:
			case c == '<' && i < lastBracket:
				bracket = true
			case c == '>':
				bracket = false
			case (c == ',' || c == ';') && !bracket:
				if !yield(strings.TrimFunc(list[begin:i], isSpace)) {
					return
				}
				begin = i + 1
			}
		}
		yield(strings.TrimFunc(list[begin:], isSpace))
	}
}

// address returns the address in the forms of one that reports have: plain, in angle brackets behind a name, or with its
// type in front. "<>" is the null reverse-path. What has no address is returned as it is.
func address(value string) string {
	value = strings.TrimFunc(unfold(value), isSpace)
	if open := strings.LastIndexByte(value, '<'); open >= 0 && strings.HasSuffix(value, ">") {
		value = value[open+1 : len(value)-1]
	} else if open := strings.LastIndexByte(value, '['); open > 0 && strings.HasSuffix(value, "]") && value[open-1] == ' ' {
		value = value[open+1 : len(value)-1] // "Name [SMTP:ann@example.org]"; "ann@[192.0.2.1]" has no space there
	}
	for _, kind := range []string{"smtp:", "mailto:"} {
		if len(value) > len(kind) && strings.EqualFold(value[:len(kind)], kind) {
			value = value[len(kind):]
		}
	}
	return strings.TrimFunc(value, isSpace)
}
