package ewstest

import "net/http"

// Autodiscover is how a server answers autodiscover.
type Autodiscover struct {
	NoSOAP, NoPOX bool
}

func (s *Server) serveAutodiscover(w http.ResponseWriter, _ *http.Request) {
	page(w, http.StatusNotFound, "The resource cannot be found.")
}
