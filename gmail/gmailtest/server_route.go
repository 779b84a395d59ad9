package gmailtest

import (
	"net/http"
	"net/url"
	"strings"
)

// A route is one method of an API, as the discovery documents of gmail v1 and admin directory_v1 describe it.
type route struct {
	name    string // without "users." for Gmail, with it for the directory
	verb    string
	path    string   // a template, behind the base path of its service
	params  string   // query parameters, but for those that every method has
	answer  string   // the schema of the answer, "" for none
	units   [2]int64 // prices of projects since May 2026, and before
	upload  bool     // messages may be uploaded, under /upload
	body    bool     // a body is JSON, or an upload
	service *service

	scopes  []string
	handler func(*request) (any, error)
}

// A service is an API.
type service struct {
	name, host, base string
}

const (
	gmailBase     = "/gmail/v1/"
	directoryBase = "/admin/directory/v1/"
)

// standardParams are the query parameters that every method has.
const standardParams = "alt fields prettyPrint quotaUser key access_token oauth_token callback uploadType upload_protocol upload_id $.xgafv"

func same(n int64) [2]int64 { return [2]int64{n, n} }

// gmailRoutes are the methods of Gmail but for settings, with the prices of Google's page about usage limits.
func gmailRoutes() []route {
	const (
		list  = "pageToken maxResults q labelIds includeSpamTrash"
		saved = "internalDateSource deleted"
	)
	get, thread := [2]int64{20, 5}, [2]int64{40, 10}
	return []route{
		{name: "getProfile", verb: "GET", path: "users/{userId}/profile", answer: "Profile", units: same(1)},
		{name: "watch", verb: "POST", path: "users/{userId}/watch", answer: "WatchResponse", units: same(100), body: true},
		{name: "stop", verb: "POST", path: "users/{userId}/stop", units: same(50), body: true},
		{name: "labels.list", verb: "GET", path: "users/{userId}/labels", answer: "ListLabelsResponse", units: same(1)},
		{name: "labels.get", verb: "GET", path: "users/{userId}/labels/{id}", answer: "Label", units: same(1)},
		{name: "labels.create", verb: "POST", path: "users/{userId}/labels", answer: "Label", units: same(5), body: true},
		{name: "labels.update", verb: "PUT", path: "users/{userId}/labels/{id}", answer: "Label", units: same(5), body: true},
		{name: "labels.patch", verb: "PATCH", path: "users/{userId}/labels/{id}", answer: "Label", units: same(5), body: true},
		{name: "labels.delete", verb: "DELETE", path: "users/{userId}/labels/{id}", units: same(5)},
		{name: "messages.list", verb: "GET", path: "users/{userId}/messages", params: list, answer: "ListMessagesResponse", units: same(5)},
		{name: "messages.get", verb: "GET", path: "users/{userId}/messages/{id}", params: "format metadataHeaders", answer: "Message", units: get},
		{name: "messages.insert", verb: "POST", path: "users/{userId}/messages", params: saved, answer: "Message", units: same(25), upload: true, body: true},
		{
			name: "messages.import", verb: "POST", path: "users/{userId}/messages/import", params: saved + " neverMarkSpam processForCalendar",
			answer: "Message", units: same(25), upload: true, body: true,
		},
		{name: "messages.send", verb: "POST", path: "users/{userId}/messages/send", answer: "Message", units: same(100), upload: true, body: true},
		{name: "messages.modify", verb: "POST", path: "users/{userId}/messages/{id}/modify", answer: "Message", units: same(5), body: true},
		{name: "messages.trash", verb: "POST", path: "users/{userId}/messages/{id}/trash", answer: "Message", units: get, body: true},
		{name: "messages.untrash", verb: "POST", path: "users/{userId}/messages/{id}/untrash", answer: "Message", units: same(5), body: true},
		{name: "messages.delete", verb: "DELETE", path: "users/{userId}/messages/{id}", units: same(10)},
		{name: "messages.batchDelete", verb: "POST", path: "users/{userId}/messages/batchDelete", units: same(50), body: true},
		{name: "messages.batchModify", verb: "POST", path: "users/{userId}/messages/batchModify", units: same(50), body: true},
		{name: "attachments.get", verb: "GET", path: "users/{userId}/messages/{messageId}/attachments/{id}", answer: "MessagePartBody", units: get},
		{
			name: "history.list", verb: "GET", path: "users/{userId}/history", params: "startHistoryId historyTypes labelId maxResults pageToken",
			answer: "ListHistoryResponse", units: same(2),
		},
		{name: "threads.list", verb: "GET", path: "users/{userId}/threads", params: list, answer: "ListThreadsResponse", units: same(10)},
		{name: "threads.get", verb: "GET", path: "users/{userId}/threads/{id}", params: "format metadataHeaders", answer: "Thread", units: thread},
	}
}

// directoryRoutes are the methods of the directory that read users and members of groups. They cost no units of Gmail.
func directoryRoutes() []route {
	return []route{
		{
			name: "users.list", verb: "GET", path: "users", answer: "Users",
			params: "customer domain event maxResults orderBy pageToken projection query showDeleted sortOrder viewType customFieldMask",
		},
		{name: "users.get", verb: "GET", path: "users/{id}", params: "projection viewType customFieldMask", answer: "User"},
		{name: "members.list", verb: "GET", path: "groups/{id}/members", params: "includeDerivedMembership maxResults pageToken roles", answer: "Members"},
	}
}

// handle says what answers a method, and which scopes permit it: one of them suffices.
func (s *Server) handle(method string, scopes []string, h func(*request) (any, error)) {
	for _, sv := range []struct {
		service
		routes []route
	}{
		{service{"gmail", "gmail.googleapis.com", gmailBase}, gmailRoutes()},
		{service{"directory", "admin.googleapis.com", directoryBase}, directoryRoutes()},
	} {
		for _, r := range sv.routes {
			if r.name == method {
				r.service, r.scopes, r.handler = &sv.service, scopes, h
				s.routes = append(s.routes, &r)
				return
			}
		}
	}
	panic("gmailtest: no route for " + method)
}

// A target is what the path of a request names.
type target struct {
	route           *route // nil: nothing
	userID, id, sub string // sub is that of an attachment, whose message is id
	upload          bool
}

// find returns what a request is for.
func (s *Server) find(r *http.Request) target {
	path := r.URL.EscapedPath()
	t := target{}
	for _, prefix := range []string{"/upload", "/resumable/upload"} {
		if rest, ok := strings.CutPrefix(path, prefix+"/"); ok {
			path, t.upload = "/"+rest, true
		}
	}
	verb := r.Method
	if t.upload && verb == http.MethodPut && r.URL.Query().Has("upload_id") {
		verb = http.MethodPost // the documentation sends the parts of an upload with PUT, Google's client with POST
	}
	for _, candidate := range s.routes {
		rest, ok := strings.CutPrefix(path, candidate.service.base)
		if !ok || t.upload && !candidate.upload || s.lacks(candidate.service.name) || s.lacks(candidate.name) {
			continue
		}
		values, ok := match(candidate.path, rest)
		if !ok || candidate.verb != verb {
			continue
		}
		t.route = candidate
		t.userID, t.id = values["userId"], values["id"]
		if message, ok := values["messageId"]; ok {
			t.id, t.sub = message, t.id
		}
		break
	}
	return t
}

// match holds a path against a template and returns what stands for the names in braces, unescaped.
func match(template, path string) (map[string]string, bool) {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	values := make(map[string]string)
	for i, w := range want {
		if !strings.HasPrefix(w, "{") {
			if w != have[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(have[i])
		if err != nil || value == "" {
			return nil, false
		}
		values[strings.Trim(w, "{}")] = value
	}
	return values, true
}
