package ewstest

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// changeKey makes the change key of the n-th state of a thing.
func changeKey(n uint32) string {
	raw := []byte{0x09, 0, 0, 0, 0x16, 0, 0, 0}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(raw, n+1))
}

// folder finds the folder that a FolderId or DistinguishedFolderId names. The caller holds the lock.
func (s *Server) folder(req *request, id *node) (*Folder, *fault) {
	if id.name == "DistinguishedFolderId" {
		return s.distinguished(req, id)
	}
	notFound := &fault{code: "ErrorFolderNotFound", text: "The specified folder could not be found in the store."}
	mb, n, bad := s.mailboxOf(id.attr("Id"), folderIDs)
	if bad != nil && bad.code == "ErrorItemNotFound" {
		bad = notFound
	}
	if bad == nil {
		bad = s.may(req, mb)
	}
	if bad != nil {
		return nil, bad
	}
	if n >= uint64(len(mb.folders)) || mb.folders[n].gone {
		return nil, notFound
	}
	f := mb.folders[n]
	return f, nil
}

func (s *Server) distinguished(req *request, id *node) (*Folder, *fault) {
	mb := req.mailbox
	if address := id.value("Mailbox", "EmailAddress"); address != "" {
		owner := s.connecting("SmtpAddress", address)
		if owner == nil || owner.mailbox == nil {
			return nil, &fault{code: "ErrorNonExistentMailbox", text: "The SMTP address has no mailbox associated with it."}
		}
		mb = owner.mailbox
	}
	name := id.attr("Id")
	if strings.HasPrefix(name, "publicfolders") {
		if mb = s.store.public; mb == nil {
			return nil, &fault{code: "ErrorNoPublicFolderServerAvailable", text: "No public folder server is available."}
		}
	}
	if mb == nil {
		return nil, &fault{
			code: "ErrorMissingEmailAddress",
			text: "When making a request as an account that does not have a mailbox, you must specify the mailbox primary SMTP address for any distinguished folder Ids.",
		}
	}
	if bad := s.may(req, mb); bad != nil {
		return nil, bad
	}
	f := mb.distinguished[name]
	if f == nil || f.gone {
		return nil, &fault{code: "ErrorFolderNotFound", text: "The specified folder could not be found in the store."}
	}
	return f, nil
}

// may reports whether the request may open a mailbox. The caller holds the lock.
func (s *Server) may(req *request, mb *Mailbox) *fault {
	if mb.opts.Fault != "" {
		return &fault{code: mb.opts.Fault, text: "The mailbox cannot be used now."}
	}
	if mb == req.mailbox || mb == s.store.public {
		return nil
	}
	if r := s.store.rights[req.user][mb]; req.as == nil && r != nil && r.delegate {
		return nil
	}
	return &fault{code: "ErrorAccessDenied", text: "Access is denied. Check credentials and try again."}
}
