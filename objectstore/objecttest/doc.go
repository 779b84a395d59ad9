// Package objecttest is for tests of object stores: servers that speak the engines' protocols on the loopback, in the shape
// of net/http/httptest, and a conformance suite for stores of any kind.
//
// # A server that works
//
// Each fake keeps its objects in memory, checks signatures, tokens and digests as strictly as the provider does, and
// refuses what the provider does not know. It embeds a [Server], which has what all fakes share: its URL, its
// certificate, the log of its requests, and what a test does to it.
//
// # A server with troubles
//
// [Server.Fail] makes requests meet a [Fault], by the provider's own name of the operation: it is answered with an error
// ([Status], [EarlyStatus]), loses its connection before ([Reset], [CutRequest]) or after it was obeyed ([LoseReply],
// [CutReply]), is left without an answer ([Stall], [StallRequest], [StallReply]), crawls ([Slow]), or has a bit flipped on
// its way in or out ([FlipRequest], [FlipReply]). [Hook] runs a function of the test in between. [Server.Skew] sets the
// server's clock wrong, [Server.Lag] lets its listings fall behind. [ServerOptions] choose its certificate: good,
// self-signed, expired or for another name. [DeadAddr] and [BlackHole] are servers that are not there.
//
//	srv.Fail("PutObject", 2, objecttest.Status(503, "", "Retry-After: 1")) // the next two
//	srv.Fail("GetObject", 1, objecttest.CutReply(1000))
//
// # A store under test
//
// [Run] holds any connection.ObjectStore against the edge cases that object stores are known for, each a named subtest; a
// failure prints what was expected. It breaks the network below the driver, through Env.HTTPClient, so that it does the
// same with a fake and with a real server. [Rules] lists the rules; Harness.Skip leaves some out, with a reason that the
// test output shows. What a [Harness] leaves out is skipped and says so.
//
//	func TestEdgeCases(t *testing.T) {
//		var srv *objecttest.S3
//		objecttest.Run(t, objecttest.Harness{
//			Reset: func(t testing.TB) { srv = objecttest.NewS3(t, nil) },
//			Open: func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
//				c, err := mydriver.Open(mydriver.Config{URL: srv.URL(), Tuning: tuning}, env)
//				if err != nil {
//					t.Fatal(err)
//				}
//				return c
//			},
//			Tuned: true,
//			Parts: 5 << 20,
//		})
//	}
//
// The promises of package connection are connectiontest.Run's to check: the tests of a driver call both. What concerns one
// protocol alone, such as its tokens and redirects, is the engine's own to test.
package objecttest
