package gmailtest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// An apiError is an error as Google's APIs answer it.
type apiError struct {
	status          int
	reason, domain  string // of the old form, within "errors"
	code            string // of the new form, "status"
	message         string
	short           string // the message within "errors", if it differs
	location, kind  string // what the error is about: "fields", "parameter"
	detail, service string // of google.rpc.ErrorInfo
	metadata        []string
	header          http.Header
	malformed       bool
}

// Error implements error.
func (e *apiError) Error() string {
	return fmt.Sprintf("%d %s (%s): %s", e.status, e.code, e.reason, e.message)
}

// apiErr returns an error of the domain "global".
func apiErr(status int, reason, code, message string) *apiError {
	return &apiError{status: status, reason: reason, domain: "global", code: code, message: message}
}

func notFound(message string) *apiError {
	return apiErr(http.StatusNotFound, "notFound", "NOT_FOUND", message)
}

func invalidArgument(message string) *apiError {
	return apiErr(http.StatusBadRequest, "invalidArgument", "INVALID_ARGUMENT", message)
}

func failedPrecondition(message string) *apiError {
	return apiErr(http.StatusBadRequest, "failedPrecondition", "FAILED_PRECONDITION", message)
}

func forbidden(reason, message string) *apiError {
	return apiErr(http.StatusForbidden, reason, "PERMISSION_DENIED", message)
}

// malformed is for requests that no client should make; it is counted as a bad request.
func malformed(reason, message string) *apiError {
	e := apiErr(http.StatusBadRequest, reason, "INVALID_ARGUMENT", message)
	e.malformed = true
	return e
}

// body is the JSON of the error.
func (e *apiError) body() object {
	item := obj("message", or(e.short, e.message), "domain", e.domain, "reason", e.reason)
	if e.location != "" {
		item = append(item, member{"location", e.location}, member{"locationType", e.kind})
	}
	o := obj("code", e.status, "message", e.message, "errors", []object{item})
	if e.code != "" {
		o = append(o, member{"status", e.code})
	}
	if e.detail != "" {
		meta := obj("service", e.service)
		for i := 0; i+1 < len(e.metadata); i += 2 {
			meta = append(meta, member{e.metadata[i], e.metadata[i+1]})
		}
		o = append(o, member{"details", []object{obj("@type", "type.googleapis.com/google.rpc.ErrorInfo", "reason", e.detail, "domain", "googleapis.com", "metadata", meta)}})
	}
	return obj("error", o)
}

// asAPIError makes an apiError of what a handler returned.
func asAPIError(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return apiErr(http.StatusInternalServerError, "backendError", "INTERNAL", err.Error())
}

// errScope is the answer to a token that does not permit the method.
func errScope(service, method string, scopes []string) *apiError {
	e := forbidden("insufficientPermissions", "Request had insufficient authentication scopes.")
	e.short = "Insufficient Permission"
	e.detail, e.service, e.metadata = "ACCESS_TOKEN_SCOPE_INSUFFICIENT", service, []string{"method", method}
	e.header = http.Header{"Www-Authenticate": {`Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="` + strings.Join(scopes, " ") + `"`}}
	return e
}

// errCredentials is the answer to a token that is none, or no longer.
func errCredentials() *apiError {
	e := apiErr(http.StatusUnauthorized, "authError", "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, "+
		"login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
	e.short, e.location, e.kind = "Invalid Credentials", "Authorization", "header"
	e.header = http.Header{"Www-Authenticate": {`Bearer realm="https://accounts.google.com/", error="invalid_token"`}}
	return e
}

// errLogin is the answer to a request without a token.
func errLogin() *apiError {
	e := apiErr(http.StatusUnauthorized, "required", "UNAUTHENTICATED", "Request is missing required authentication credential. Expected OAuth 2 access token, "+
		"login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
	e.short, e.location, e.kind = "Login Required.", "Authorization", "header"
	e.header = http.Header{"Www-Authenticate": {`Bearer realm="https://accounts.google.com/"`}}
	return e
}

// errParameter is the answer to a query parameter that a method does not have.
func errParameter(name string) *apiError {
	return malformed("badRequest", "Invalid JSON payload received. Unknown name "+strconv.Quote(name)+
		": Cannot bind query parameter. Field '"+name+"' could not be found in request message.")
}

// errValue is the answer to a value that a query parameter cannot have.
func errValue(name, value, want string) *apiError {
	e := malformed("invalidParameter", "Invalid value at '"+name+"' ("+want+"), "+strconv.Quote(value))
	e.location, e.kind = name, "parameter"
	return e
}

// errFields is the answer to a fields parameter that names what is not there, or cannot be read.
func errFields(selection string) *apiError {
	e := malformed("invalidParameter", "Invalid field selection "+selection)
	e.location, e.kind = "fields", "parameter"
	return e
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
