package partitest

import (
	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/memkv"
)

// NewStore makes an empty store in memory, for one group. All workers of a test
// share it. It needs no server, no port and no closing, and follows the fake time
// of a testing/synctest bubble that it is made in.
//
// It passes the same conformance suite as the store on JetStream.
func NewStore() parti.Store { return memkv.New().Client("partitest") }
