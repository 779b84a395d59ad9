package connectiontest

import "github.com/mailconn/mailconn/connection"

// The names of the rules, for Harness.Skip.
const (
	OpenDoesNoIO       = "open-does-no-io"
	TestReports        = "test-reports"
	TestChangesNothing = "test-changes-nothing"
	BrokenIsExplained  = "broken-is-explained"
	CloseTwice         = "close-twice"
	ClosedSaysClosed   = "closed-says-closed"
	CloseEnds          = "close-ends-what-is-under-way"
	CanceledAtOnce     = "canceled-context-at-once"

	FetchBytes          = "fetch-byte-exact"
	FetchOnce           = "fetch-each-once"
	FetchChangesNothing = "fetch-changes-nothing"
	FetchBodyEnds       = "fetch-body-ends-with-its-step"
	FetchUnreadBody     = "fetch-unread-body-harms-nothing"
	FetchBreak          = "fetch-break-releases"
	FetchOptions        = "fetch-obeys-options"
	FetchFollow         = "fetch-follow"
	FetchConcurrent     = "fetch-concurrent"
	FetchCancel         = "fetch-cancel-mid-body"
	FetchBadOne         = "fetch-one-bad-does-not-stop-the-rest"

	DeleteOnlyNamed  = "delete-only-what-is-named"
	DeleteMissing    = "delete-missing-is-no-error"
	DeleteInLoop     = "delete-within-the-loop"
	DeleteConcurrent = "delete-concurrent"
	DrainKeeps       = "drain-durable-before-delete"

	SyncBytes      = "sync-from-the-beginning"
	SyncResumes    = "sync-resumes"
	SyncCheckpoint = "sync-checkpoint-not-ahead"
	SyncStale      = "sync-stale-checkpoint"
	SyncKnown      = "sync-reconciles-with-known"
	SyncBodyEnds   = "sync-body-ends-with-its-step"

	AppendBytes   = "append-byte-exact"
	AppendAll     = "append-all-or-nothing"
	AppendFolder  = "append-missing-folder"
	OpenAgain     = "open-reads-again"
	MarkFlags     = "mark-sets-flags"
	FoldersListed = "folders-listed-once"

	SendBytes    = "send-byte-exact"
	SendAll      = "send-all-or-nothing"
	SendRejected = "send-rejected-recipients"
	SendInject   = "send-refuses-injection"

	PutGet        = "put-get-byte-exact"
	PutAll        = "put-all-or-nothing"
	PutNeverTorn  = "put-never-partial"
	PutIfAbsent   = "put-if-absent-one-winner"
	PutChecks     = "put-checks-size-and-digest"
	PutMeta       = "put-keeps-metadata"
	GetRanges     = "get-ranges"
	GetMissing    = "get-missing-is-not-found"
	ListOrder     = "list-in-key-order"
	ListOptions   = "list-obeys-options"
	KeysKept      = "keys-kept-apart"
	KeysNested    = "keys-nested"
	KeysRefused   = "keys-refused"
	ObjectsDelete = "objects-delete-only-what-is-named"
	LockHolds     = "lock-holds"
	CopyCopies    = "copy-copies"

	CutFetch  = "cut-line-is-no-short-message"
	CutDelete = "cut-line-deletes-no-other"
	CutDrain  = "cut-line-loses-nothing"
	CutPut    = "cut-line-puts-all-or-nothing"
	CutGet    = "cut-line-is-no-short-object"
	CutSend   = "cut-line-sends-once-or-says-so"
	StallEnds = "stalled-line-ends-with-context"

	ErrorsAreTyped    = "errors-are-typed"
	NoGoroutineLeft   = "no-goroutine-left"
	SecretsNeverPrint = "secrets-never-print"
)

// rules are in the order of their checks. The last three are watched during all the others too, and a breach is
// reported where it happens.
var rules = []rule{
	{OpenDoesNoIO, "Opening a connection does no I/O, and Info says what it is.", anything, checkOpen},
	{TestReports, "Test's Report is complete, also on an error, and its error is the first failed step's.", anything, checkTest},
	{TestChangesNothing, "Test changes nothing; with Write it removes what it wrote.", either(either(needLeft, needOutbox), can[connection.ObjectStore]), checkTestChanges},
	{BrokenIsExplained, "What cannot work fails with a hint at the setting that is at fault.", needBroken, checkBroken},
	{CloseTwice, "A second Close does nothing and returns nil.", anything, checkCloseTwice},
	{ClosedSaysClosed, "After Close every verb gives ErrClosed.", anything, checkClosed},
	{CloseEnds, "Close ends what is under way with ErrClosed.", either(all(can[connection.Fetcher], needFill), can[connection.ObjectStore]), checkCloseEnds},
	{CanceledAtOnce, "With a context that is done every verb ends at once, with ctx.Err() in the chain, and does nothing.", anything, checkCanceled},

	{FetchBytes, "A message comes back octet for octet.", all(can[connection.Fetcher], needFill), checkFetchBytes},
	{FetchOnce, "Each message is yielded once, with a Ref of its own and an honest size.", all(can[connection.Fetcher], needFill), checkFetchOnce},
	{FetchChangesNothing, "Fetch changes nothing at the source: no flag, no delete, no move.", all(can[connection.Fetcher], needFill), checkFetchChanges},
	{FetchBodyEnds, "A body is not valid after its loop step: it never gives another message's octets, nor a clean end before its own.", all(can[connection.Fetcher], needFill), checkFetchBodyEnds},
	{FetchUnreadBody, "A body that is read in part or not at all does not disturb the next message.", all(can[connection.Fetcher], needFill), checkFetchUnread},
	{FetchBreak, "Leaving the loop early releases everything.", all(can[connection.Fetcher], needFill), checkFetchBreak},
	{FetchOptions, "Fetch obeys Limit, Since, Unseen and Skip.", all(can[connection.Fetcher], needFill), checkFetchOptions},
	{FetchFollow, "With Follow later mail is seen, and the loop ends soon after its context, with ctx.Err().", all(can[connection.Fetcher], needFill), checkFetchFollow},
	{FetchConcurrent, "Several loops may run at once, each complete.", all(can[connection.Fetcher], needFill), checkFetchConcurrent},
	{FetchCancel, "A context that ends in the middle of a body ends the loop soon, with ctx.Err(), and never a short message.", all(can[connection.Fetcher], needFill), checkFetchCancel},
	{FetchBadOne, "One bad message is an error with its Ref, and does not stop the rest.", all(can[connection.Fetcher], needFill, needSpoil), checkFetchBadOne},

	{DeleteOnlyNamed, "Delete removes the messages named and no other.", all(can[connection.Source], needFill), checkDelete},
	{DeleteMissing, "A Ref that is no longer there is no error, and Delete may be repeated.", all(can[connection.Source], needFill), checkDeleteMissing},
	{DeleteInLoop, "Delete may be called from within the loop.", all(can[connection.Source], needFill), checkDeleteInLoop},
	{DeleteConcurrent, "Delete may be called from other goroutines and connections while Fetch runs.", all(can[connection.Source], needFill), checkDeleteConcurrent},
	{DrainKeeps, "A message leaves its source only after its sink has stored it.", all(can[connection.Source], needFill), checkDrain},

	{SyncBytes, "Sync from the beginning yields every message, octet for octet, and a Checkpoint.", all(can[connection.Syncer], needFill), checkSyncBytes},
	{SyncResumes, "Sync from a Checkpoint yields only what changed since.", all(can[connection.Syncer], needFill), checkSyncResumes},
	{SyncCheckpoint, "A Checkpoint is never ahead of the changes yielded: a crash re-delivers and never loses.", all(can[connection.Syncer], needFill), checkSyncCheckpoint},
	{SyncStale, "A Checkpoint that means nothing is ErrStale, before anything else.", all(can[connection.Syncer], needFill), checkSyncStale},
	{SyncKnown, "With Known a lost place is reconciled without reading again what the host has.", all(can[connection.Syncer], needFill), checkSyncKnown},
	{SyncBodyEnds, "The body of a change is not valid after its loop step, and one not read disturbs nothing.", all(can[connection.Syncer], needFill), checkSyncBodyEnds},

	{AppendBytes, "Append stores a message octet for octet.", all(can[connection.Appender], needLeft), checkAppendBytes},
	{AppendAll, "Append stores all of a message or nothing.", all(can[connection.Appender], needLeft), checkAppendAll},
	{AppendFolder, "Append to a folder that is missing is ErrNotFound, unless CreateFolder is set.", all(can[connection.Appender], needLeft), checkAppendFolder},
	{OpenAgain, "Open reads a message again, also on another connection; one that is gone is ErrNotFound.", all(can[connection.Fetcher], can[connection.Opener], needFill), checkOpenAgain},
	{MarkFlags, "Mark sets flags; a message that is gone is no error.", all(can[connection.Fetcher], can[connection.Marker], needFill), checkMark},
	{FoldersListed, "Folders and mailboxes are listed once each.", either(can[connection.FolderLister], can[connection.MailboxLister]), checkFolders},

	{SendBytes, "A message arrives octet for octet, with its envelope, and the receipt says so.", all(can[connection.Sender], needOutbox), checkSend},
	{SendAll, "If the message cannot be read whole, nothing is sent.", all(can[connection.Sender], needOutbox), checkSendAll},
	{SendRejected, "Recipients that are refused are told; if all are, the error is ErrRejected.", all(can[connection.Sender], needOutbox, needRefused), checkSendRejected},
	{SendInject, "An address cannot carry commands.", all(can[connection.Sender], needOutbox), checkSendInjection},

	{PutGet, "An object comes back octet for octet.", can[connection.ObjectStore], checkPutGet},
	{PutAll, "Put is all or nothing: after an error the key holds what it held before.", can[connection.ObjectStore], checkPutAll},
	{PutNeverTorn, "Readers see the old object or the new one, never a part or a mixture.", can[connection.ObjectStore], checkPutNeverTorn},
	{PutIfAbsent, "Of many that put a key if it is absent, exactly one wins.", can[connection.ObjectStore], checkPutIfAbsent},
	{PutChecks, "Put checks the size and the digest that it is told.", can[connection.ObjectStore], checkPutChecks},
	{PutMeta, "Content type and metadata are kept, and what cannot be kept is refused.", can[connection.ObjectStore], checkPutMeta},
	{GetRanges, "Get reads the range asked for; one past the end is empty.", can[connection.ObjectStore], checkRanges},
	{GetMissing, "An object that is not there is ErrNotFound; one that was replaced is ErrChanged with IfMatch.", can[connection.ObjectStore], checkGetMissing},
	{ListOrder, "List yields every key once, in ascending byte order.", can[connection.ObjectStore], checkListOrder},
	{ListOptions, "List obeys Prefix, Delimiter, After and Limit.", can[connection.ObjectStore], checkListOptions},
	{KeysKept, "Keys that look alike or need escaping are kept apart and come back as they were.", can[connection.ObjectStore], checkKeysKept},
	{KeysNested, "A key may be the beginning of another one's path.", can[connection.ObjectStore], checkKeysNested},
	{KeysRefused, "A key that could mean another one is refused, before anything is touched.", can[connection.ObjectStore], checkKeysRefused},
	{ObjectsDelete, "Delete removes the objects named and no other; a missing one is no error.", can[connection.ObjectStore], checkObjectsDelete},
	{LockHolds, "An object under retention or legal hold can be neither deleted nor replaced.", all(can[connection.ObjectStore], can[connection.Locker]), checkLock},
	{CopyCopies, "Copy makes an object of the same octets, under the rules of Put.", all(can[connection.ObjectStore], can[connection.Copier]), checkCopy},

	{CutFetch, "A line that is cut gives an error, never a short message.", all(can[connection.Fetcher], needFill), checkCutFetch},
	{CutDelete, "A line that is cut during Delete harms no other message, and nil still means gone.", all(can[connection.Source], needFill), checkCutDelete},
	{CutDrain, "Whatever happens to the line, each message is at its source or stored whole.", all(can[connection.Source], needFill), checkCutDrain},
	{CutPut, "A line that is cut during Put leaves the old object or the new one, and nil means the new.", can[connection.ObjectStore], checkCutPut},
	{CutGet, "A line that is cut during Get gives an error or the whole object.", can[connection.ObjectStore], checkCutGet},
	{CutSend, "A line that is cut during Send gives nil only if the message arrived, and ErrUncertain if it may have.", all(can[connection.Sender], needOutbox), checkCutSend},
	{StallEnds, "On a line that is silent every verb ends soon after its context, with ctx.Err().", anything, checkStall},

	{ErrorsAreTyped, "Every error that leaves a driver is an *Error of one line, with Op and Driver.", anything, checkErrors},
	{NoGoroutineLeft, "After Close no goroutine is left.", anything, checkGoroutines},
	{SecretsNeverPrint, "The secret is in no error, log, report, event or fmt output.", needSecret, checkSecrets},
}
