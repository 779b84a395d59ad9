package gmail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// What is read of one answer in a batch at most. A message may have thousands of labels.
const maxBatchPart = 1 << 20

// A batchRequest is a multipart/mixed body whose parts are requests (application/http), each with a Content-ID by which the
// answer names it.
type batchRequest struct {
	body  bytes.Buffer
	parts *multipart.Writer
	query string
}

// newBatch begins a batch of messages.get with format=minimal for a user. The address of each request must be a path alone.
func newBatch(quotaUser string) *batchRequest {
	q := url.Values{"format": {"minimal"}, "fields": {"id,labelIds"}}
	if quotaUser != "" { // each request counts for itself
		q.Set("quotaUser", quotaUser)
	}
	b := &batchRequest{query: q.Encode()}
	b.parts = multipart.NewWriter(&b.body)
	return b
}

// add adds the request for a message, which its answer will name by number.
func (b *batchRequest) add(number int, id string) {
	// A bytes.Buffer takes everything, so no error is possible.
	part, err := b.parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Id": {fmt.Sprintf("<item-%d>", number)}})
	if err == nil {
		_, _ = fmt.Fprintf(part, "GET /gmail/v1/users/me/messages/%s?%s\r\n\r\n", url.PathEscape(id), b.query)
	}
}

// close returns the body and its Content-Type.
func (b *batchRequest) close() (body []byte, contentType string) {
	_ = b.parts.Close() // as in add
	return b.body.Bytes(), mime.FormatMediaType("multipart/mixed", map[string]string{"boundary": b.parts.Boundary()})
}

// A batchAnswer is the answer to one request of a batch.
type batchAnswer struct {
	status int
	header http.Header
	body   []byte
}

// readBatch reads the answers to a batch, by the numbers of their requests. One that cannot be told is left out; each number
// is answered once. The outer status says nothing about them.
func readBatch(contentType string, body io.Reader) (map[int]*batchAnswer, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("a batch was answered by %q, want multipart/mixed", contentType)}
	}
	limited := &io.LimitedReader{R: body, N: maxPage}
	parts := multipart.NewReader(limited, params["boundary"])
	answers := make(map[int]*batchAnswer)
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // only the bare one is the end
			return answers, nil
		}
		if err == nil {
			var number int
			var answer *batchAnswer
			number, answer, err = readBatchPart(part)
			if answer != nil && answers[number] == nil && len(answers) < batchSize {
				answers[number] = answer
			}
		}
		if err != nil {
			return nil, brokenBatch(err, limited.N <= 0)
		}
	}
}

// brokenBatch returns the error of a batch that cannot be read to its end.
func brokenBatch(err error, long bool) error {
	kind := connection.KindOf(err)
	switch {
	case long:
		return &connection.Error{Driver: DriverName, Kind: connection.ErrTooLarge, Err: fmt.Errorf("the answer to a batch is longer than %d octets", maxPage)}
	case kind == connection.ErrUnknown && errors.Is(err, io.EOF):
		kind = connection.ErrNetwork // multipart wraps the end where none belongs
	case kind == connection.ErrUnknown:
		kind = connection.ErrProtocol
	}
	return &connection.Error{Driver: DriverName, Kind: kind, Err: fmt.Errorf("the answer to a batch: %w", err)}
}

// readBatchPart reads one answer. It is nil if nobody can tell to what.
func readBatchPart(part *multipart.Part) (number int, answer *batchAnswer, err error) {
	// Content-ID: <response-item-3>
	id := strings.Trim(part.Header.Get("Content-Id"), "<> ")
	number, err = strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	if err != nil {
		return 0, nil, nil //nolint:nilerr // an answer to nothing
	}
	limited := &io.LimitedReader{R: part, N: maxBatchPart}
	resp, err := http.ReadResponse(bufio.NewReader(limited), nil)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, nil, err
	}
	if limited.N <= 0 {
		return 0, nil, &connection.Error{Driver: DriverName, Kind: connection.ErrTooLarge, Err: fmt.Errorf("a part of it is longer than %d octets", maxBatchPart)}
	}
	return number, &batchAnswer{resp.StatusCode, resp.Header, body}, nil
}

// state returns what a says of the message id.
func (a *batchAnswer) state(id string) state {
	var m struct {
		ID     string   `json:"id"`
		Labels []string `json:"labelIds"`
	}
	switch err := json.Unmarshal(a.body, &m); {
	case err != nil:
		return state{err: &connection.Error{Driver: DriverName, Kind: connection.ErrCorrupt, Err: errors.New("the answer is no message")}}
	case m.ID != id:
		return state{err: &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: errors.New("the answer is of another message")}}
	}
	return state{labels: m.Labels}
}
