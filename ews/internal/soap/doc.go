// Package soap writes the requests of Exchange Web Services and reads the answers.
//
// Requests are typed: one struct for each operation, with a writer that cannot emit children in another order than the
// schema's, since Exchange refuses those. Encode turns one into a Body, which can be sent as often as is needed; the
// octets of a message that is uploaded are turned into base64 while they are sent.
//
// Answers are pulled from the connection by a Reader, one response message at a time. Neither a message's octets nor the
// base64 around them are ever in memory as a whole, and its octets end in io.EOF only when everything that belongs to
// them was read and agrees. The scanner under it is liberal: prefixes, order, white space, characters that XML forbids and
// lying declarations do no harm. It is also bounded: nothing that a server sends makes it grow past its limits.
//
// The package knows nothing of HTTP. Its errors are *Fault, for what a server said by a SOAP fault, *connection.Error of
// kind ErrProtocol, ErrCorrupt, ErrInvalid or ErrUnsupported without Op and Driver, which the driver adds, and whatever the
// reader below returned.
package soap
