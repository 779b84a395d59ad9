// Package connectiontest shows whether a driver keeps the promises of package connection, and lends what tests of mail
// archivers need.
//
// # Check a driver
//
// [Run] takes a [Harness], which says how to reach the driver and the fixture behind it, and checks one promise a
// subtest, for every capability that the connection has. A failure prints the promise that is broken:
//
//	func TestPromises(t *testing.T) {
//		var dir string
//		connectiontest.Run(t, connectiontest.Harness{
//			Reset: func(t testing.TB) { dir = t.TempDir() },
//			Open: func(t testing.TB, env *connection.Env) connection.Connection {
//				c, err := mydriver.Open(mydriver.Config{Location: dir}, env)
//				if err != nil {
//					t.Fatal(err)
//				}
//				return c
//			},
//			Fill: func(t testing.TB, raw ...[]byte) { … },
//			Left: func(t testing.TB) [][]byte { … },
//		})
//	}
//
// A driver that dials through Env.Dial also has its line cut and silenced at many octets. [Rules] lists the rules;
// Harness.Skip leaves some out, each with a reason that the test output shows.
//
// # Test a program
//
// [NewMailbox], [NewObjectStore] and [NewOutbox] are connections whose other end is memory. They keep every promise,
// and fail where a test wants them to.
//
// [Corpus] returns messages that programs get wrong.
//
// # Break the network
//
// [FaultyDial] puts faults such as [CutAfter], [Stall] and [Slow] around network connections; [FaultyTransport] puts
// [Status], [CutBody] and others around HTTP exchanges.
package connectiontest
