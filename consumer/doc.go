// Package consumer consumes JetStream messages partition by partition, and loses none
// when a partition moves.
//
// [NewDurable] makes a [parti.Handler] under which every partition has a durable pull
// consumer of its own on the server. The consumer is the partition's cursor: whoever
// owns the partition pulls from it, and nothing about it changes when the owner does.
// (Moving a subject from one consumer's filter to another's skips, repeats or even
// deletes messages, depending on the stream's retention.) It works with every
// retention, on one node and on several. With interest retention the server drops what is
// published for a partition before its consumer is there: [Durable.Provision] comes first.
//
//	d, err := consumer.NewDurable(ctx, js, "orders", "ORDERS", "orders.{partition}.>",
//		func(ctx context.Context, m *consumer.Msg) error {
//			return book(ctx, m.Partition, m.Data)
//		})
//	mgr, err := parti.NewManager(store, source, d, parti.Config{})
//
// [NewCursor] is for thousands of partitions, more than a server likes to have consumers
// for: a worker reads all its partitions through few ephemeral consumers, and how far each
// of them is done stands in a key of a bucket, written under the lease's token. The
// stream must have limits retention.
//
// # What they promise
//
// Every message is given to the function at least once, until it returns nil, or an
// error that says that no try will help, or [MaxDeliver] tries have failed; in the last
// two cases it goes to the [DeadLetter] subject before it is done. With one message in
// flight per partition, the default, the messages of a partition come in the order of the
// stream, across retries and moves.
//
// When a partition moves as planned, what is in hand is finished and acknowledged, or
// written into the cursor, and the server has said that it knows, before the next owner
// starts: nothing is repeated. When its owner is lost, the next one of a Durable asks for
// what was in hand at once instead of waiting for the [AckWait] (it has to wait through a
// JetStream domain, or another API prefix): that, and nothing else, is repeated. That of a
// Cursor goes on from the cursor, which is at most [CursorEvery] old.
//
// A partition whose messages fail, or take long, holds up no other. Of a Cursor, at most
// 512 messages of a partition, or 2 MiB, wait in the worker, and as many as [PullBatch] says
// for each of its readers.
//
// # A frozen owner that wakes
//
// JetStream knows no tokens: whoever knows a message's reply subject can acknowledge it.
// So before every acknowledgement the lease is checked, by a clock that counts
// suspension: a process that wakes after the trust in its session has ended acknowledges
// nothing.
//
// Under parti.Fence nobody else is given the partition before that. What is left is a
// process that is stopped between this check and the write to its connection, some
// microseconds. Under parti.Freeze others may be given it earlier, after EmergencyGrace or
// LostAfter (see parti.Config), and a process that was stopped for some seconds may still
// trust its session when it wakes: until it hears the truth it may acknowledge what the next
// owner has been given. Either way, the acknowledgement is of a message that its function
// has finished.
//
// A cursor needs no clock: as soon as the next owner has begun, which it does by writing
// its token, the server refuses what an earlier one writes.
//
// The function's own effects need the token, too: write m.Token beside your data, and
// refuse to overwrite a larger one. Package fence has helpers for that.
package consumer
