package ewstest

import "strings"

// A Breakage is what is wrong with an item.
type Breakage string

// What may be wrong with an item.
const (
	Whole           Breakage = ""                                 // nothing
	Unconverted     Breakage = "ErrorMimeContentConversionFailed" // its MIME cannot be made, but its MimeContentUTF8
	UnconvertedUTF8 Breakage = "both"                             // neither can be made
	Corrupt         Breakage = "ErrorItemCorrupt"                 // nothing of it can be read
	NoMIME          Breakage = "absent"                           // a success without MimeContent
	EmptyMIME       Breakage = "empty"                            // a success with an empty MimeContent
	ListedButNot    Breakage = "ErrorItemNotFound"                // it is listed, and cannot be found
)

// kinds are the elements of items by the beginnings of their classes; the first that fits counts.
var kinds = [...][2]string{
	{"IPM.Schedule.Meeting.Request", "MeetingRequest"},
	{"IPM.Schedule.Meeting.Resp", "MeetingResponse"},
	{"IPM.Schedule.Meeting.Canceled", "MeetingCancellation"},
	{"IPM.Schedule.Meeting", "MeetingMessage"},
	{"IPM.Appointment", "CalendarItem"},
	{"IPM.Contact", "Contact"},
	{"IPM.DistList", "DistributionList"},
	{"IPM.Task", "Task"},
	{"IPM.Post", "PostItem"},
	{"IPM.Sharing", "SharingMessage"},
	{"IPM.StickyNote", "Item"},
	{"IPM.Activity", "Item"},
}

// kindOf returns the element of items of a class.
func kindOf(class string) string {
	for _, k := range kinds {
		if strings.HasPrefix(class, k[0]) {
			return k[1]
		}
	}
	return "Message"
}
