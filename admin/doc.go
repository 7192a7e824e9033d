// Package admin looks at a group and steers it: the one door for the command line, the
// console, and programs of your own.
//
//	store, err := natskv.Open(ctx, js, "orders", natskv.WithoutCreate(), natskv.WithoutBarrier())
//	group := admin.Open(store)
//	now, err := group.Snapshot(ctx)      // who runs what, what is pending and until when
//	fmt.Println(now.Sentence)            // Settled. 1 024 partitions on 12 workers. Nothing pending.
//	_, err = group.Drain(ctx, "worker-3", admin.Order{Why: "kernel upgrade", For: time.Hour})
//
// Everything that is read is in the group's bucket, and reading changes nothing. What
// only a process knows (what runs in it, what its leader is about to do) it is asked for:
// [parti.Manager.About]; who does not answer is shown as silent. What an operator wants is
// a record in the bucket, on which the leader acts: any leader, also the next one.
//
// Package permissions has the roles for it: an observer reads, an operator also steers.
package admin
