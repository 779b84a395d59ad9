// Package maildir reads mail out of Maildir and Maildir++ trees on the local file system, removes it there, adds to
// them, and tells what changed in them. It needs no server.
//
// # What a connection covers
//
// Config.Path names one Maildir, or with wildcards or {placeholders} many: "/home/*/Maildir",
// "/var/vmail/{domain}/{user}". Each directory that matches is one mailbox; a path without wildcards is a connection
// with one mailbox, whose name is "". A folder is a directory that holds new or cur; the mailbox's own directory is
// "INBOX". Sub-folders are named by the Maildir++ rule (".Sent.2024" is "Sent/2024") or, with layout "fs", by nested
// directories; layout "auto" takes both. Modified UTF-7 is decoded, UTF-8 names pass.
//
// # References
//
// Ref.ID is the unique part of the file name, before ":2," (or ";2," and "!2,", which file systems without colons
// use). It stays the same when a flag changes or a message goes from new to cur. Octets that are not UTF-8 are written
// as %XX, so that a Ref survives JSON. Where two different files of one folder share a unique part, which no correct
// program makes, both are yielded: the second under its whole file name, and Delete refuses to guess between them.
//
// # What is promised
//
// Fetch and Sync change nothing: no file is renamed, none goes from new to cur, access times are the file system's
// affair. Delete does what Config.DeleteMode says and nothing while that is "none", the default. It removes the very
// file that Fetch has read (by inode and size, as far as this Conn remembers it), or else the file with the unique
// part, wherever in the folder it is now. Append returns nil only after file and directory are synced.
//
// # Trees of other people
//
// The trees may belong to hostile users while the program runs as root. No symbolic link leads out of a mailbox's
// tree; a message that is a link, a FIFO, a socket or a device is no message and is never opened; files are opened with
// O_NOFOLLOW and O_NONBLOCK and must then be regular. A file with several hard links is read only if it belongs to the
// owner of the directory that it is in: a link to somebody else's file is an item error. On Windows, where
// these notions are missing, os.Root alone keeps the tree closed.
//
// # Limits
//
// Directories are read in pieces and never sorted. Fetch remembers the names it has met in the current folder, in about
// 40 octets each (with Follow: of all folders). Sync holds the names of one folder at a time and a compressed form of
// the rest; its Checkpoint grows with the mailbox, by about 20 octets a message. A system call on a network file
// system that does not answer cannot be interrupted: there ctx takes effect when the call returns.
package maildir
