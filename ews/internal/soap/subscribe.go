package soap

// eventTypes are those of EventType; a streaming subscription has no use for the others.
var eventTypes = [...]string{
	"CopiedEvent", "CreatedEvent", "DeletedEvent", "ModifiedEvent", "MovedEvent", "NewMailEvent", "FreeBusyChangedEvent",
}

// Subscribe asks to be told of events, by GetEvents or, if Streaming, by GetStreamingEvents.
type Subscribe struct {
	Streaming bool       // needs Exchange2010_SP1
	Folders   []FolderID // empty = all of the mailbox, which needs Exchange2010
	Events    []string   // "NewMailEvent", "CreatedEvent", "DeletedEvent", "ModifiedEvent", "MovedEvent", "CopiedEvent"
	Watermark string     // unless Streaming: where to begin; "" = now
	Timeout   int        // unless Streaming: minutes without GetEvents after which it ends, 1 to 1440
}

// Name implements Operation.
func (Subscribe) Name() string { return "Subscribe" }

func (o Subscribe) write(w *writer) {
	name := "m:PullSubscriptionRequest"
	if o.Streaming {
		w.since(Exchange2010SP1, "streaming subscription")
		name = "m:StreamingSubscriptionRequest"
	}
	all := ""
	if len(o.Folders) == 0 {
		w.since(Exchange2010, "subscription to all folders")
		all = "true"
	}
	w.some("event types", len(o.Events))
	w.open("m:Subscribe")
	w.open(name, "SubscribeToAllFolders", all)
	if len(o.Folders) > 0 {
		w.folderIDs("t:FolderIds", o.Folders)
	}
	w.open("t:EventTypes")
	for _, e := range o.Events {
		w.oneOf("event type", e, eventTypes[:]...)
		w.leaf("t:EventType", e)
	}
	w.end("t:EventTypes")
	if !o.Streaming {
		w.maybe("t:Watermark", o.Watermark)
		w.within("timeout", o.Timeout, 1, 1440)
		w.leaf("t:Timeout", itoa(o.Timeout))
	}
	w.end(name)
	w.end("m:Subscribe")
}

// GetStreamingEvents asks for the events of subscriptions as they happen. Its answer is read by an EventReader.
type GetStreamingEvents struct {
	Subscriptions []string // at most 200
	Minutes       int      // how long the answer lasts, 1 to 30
}

// Name implements Operation.
func (GetStreamingEvents) Name() string { return "GetStreamingEvents" }

func (o GetStreamingEvents) write(w *writer) {
	w.since(Exchange2010SP1, "GetStreamingEvents")
	w.within("subscriptions", len(o.Subscriptions), 1, 200)
	w.within("minutes", o.Minutes, 1, 30)
	w.open("m:GetStreamingEvents")
	w.open("m:SubscriptionIds")
	for _, id := range o.Subscriptions {
		w.some("subscription id", len(id))
		w.leaf("t:SubscriptionId", id)
	}
	w.end("m:SubscriptionIds")
	w.leaf("m:ConnectionTimeout", itoa(o.Minutes))
	w.end("m:GetStreamingEvents")
}

// GetEvents asks for the events of one subscription since a watermark.
type GetEvents struct{ Subscription, Watermark string }

// Name implements Operation.
func (GetEvents) Name() string { return "GetEvents" }

func (o GetEvents) write(w *writer) {
	w.some("subscription id", len(o.Subscription))
	w.some("watermark", len(o.Watermark))
	w.open("m:GetEvents")
	w.leaf("m:SubscriptionId", o.Subscription)
	w.leaf("m:Watermark", o.Watermark)
	w.end("m:GetEvents")
}

// Unsubscribe ends a subscription.
type Unsubscribe struct{ Subscription string }

// Name implements Operation.
func (Unsubscribe) Name() string { return "Unsubscribe" }

func (o Unsubscribe) write(w *writer) {
	w.some("subscription id", len(o.Subscription))
	w.open("m:Unsubscribe")
	w.leaf("m:SubscriptionId", o.Subscription)
	w.end("m:Unsubscribe")
}
