// Package archtest keeps the packages of Parti on their floors: a package imports
// only from floors below its own, and the brains stay pure.
//
// The test of this package reads the whole work space with go list and the
// source files themselves, and names every import and every call that is in the
// wrong place. A new package fails it until it has a floor in [Floors].
package archtest

// Module is the path of the core module. Packages are named below it; the
// core package itself is ".".
const Module = "github.com/parti-go/parti"

// Floors is the building, highest floor first. A package may import only what
// stands on a floor below its own.
//
//   - x/... is x and every package below it; these may import each other.
//   - (tests) marks a package that exists for tests: it may use package testing
//     and random numbers on whatever floor it stands, and only tests, other such
//     packages and the top floor may import it.
//   - (pure) marks a package that is pure although it stands above topPure.
//   - (port) marks a package of interfaces: it alone among the pure ones may
//     import context and name channel types.
//   - The floor "-" stands apart: it imports nothing of ours, nothing imports it.
//
// Test files may import from any floor: a test looks at its package from above.
const Floors = `
7  cmd/parti/...  examples/...  test/...  bench/...
6  console  partitest  internal/measure
5  natskv  consumer  source  fence  permissions  admin  directory  promparti  otelparti  partitest/internal/frame
4  .  internal/sim/... (tests)
3  internal/member (pure)  internal/memkv  internal/wire  internal/hatch  internal/trouble  internal/kv/kvtest (tests)
2  internal/lead  internal/hold  internal/join  internal/elect
1  strategy  strategy/strategytest (tests)  event  internal/roster
0  plan  internal/kv (port)  internal/pattern
-  internal/model/...  internal/archtest
`

// The floors up to topPure are pure: no goroutine, lock, channel, clock or
// chance, nothing of the operating system. Their packages are values that are
// stepped; the time and the facts are arguments.
const topPure = 2

// The floors up to topWithoutNATS import nothing of NATS: stores are arguments.
const topWithoutNATS = 4

// pureImports is what the pure floors may import from the standard library.
// What is added here must not wait, read a clock, draw random numbers, or look at
// the process or the machine.
var pureImports = words(`
	bytes cmp container/heap container/list crypto/sha256 encoding encoding/base32 encoding/base64
	encoding/binary encoding/hex encoding/json errors fmt hash hash/crc32 hash/crc64 hash/fnv iter
	maps math math/big math/bits regexp slices sort strconv strings text/tabwriter time unicode
	unicode/utf8`)

// pureThirdParty is what a package of a pure floor may import from elsewhere.
var pureThirdParty = map[string]map[string]bool{
	"strategy": words("github.com/zeebo/xxh3 github.com/cespare/xxhash/v2"),
}

// impureCalls is what the pure floors may not use from packages they may import.
var impureCalls = map[string]map[string]bool{
	"time": words("Now Since Until After AfterFunc Sleep NewTimer NewTicker Tick Local LoadLocation"),
	"fmt":  words("Print Printf Println Scan Scanf Scanln"),
}

// remedies says for an impure import or call what to do instead; the first whose
// prefix fits counts.
var remedies = []struct{ prefix, remedy string }{
	{"context", "a brain does not wait, so nothing in it can be cancelled: the shell ends contexts"},
	{"time.Local", "keep times as they are given; people's zones belong to what they look at"},
	{"time.LoadLocation", "keep times as they are given; people's zones belong to what they look at"},
	{"time.", "take the time as an argument, and ask to be woken with WakeAt"},
	{"sync", "one goroutine of the shell owns the brain and steps it: there is nothing to lock"},
	{"math/rand", "take chance as an argument"},
	{"crypto/rand", "take chance as an argument"},
	{"hash/maphash", "it is seeded per process: use a hash that is the same everywhere"},
	{"log", "return what happened; the shell writes the log"},
	{"fmt.", "return what happened; the shell writes the log"},
	{"testing", "keep it in _test.go files, or mark the package (tests) in Floors"},
	{"unsafe", "do without"},
	{"", "leave it to the shell, or, if it is as pure as the others, add it to pureImports"},
}
