// Package model is a machine-checked model of the protocol by which a group agrees
// on who runs what: join, renew, elect, detect, hand off, leave, and what follows
// when the store is lost or goes back. It is no part of the product; its tests are
// what it is for.
//
// # What it does
//
// A [Scope] says who takes part and how much may go wrong. The explorer visits
// every state that can be reached in it, breadth first, in whatever order the steps
// of workers, leaders, the store and the clock may come. When a promise breaks it
// prints the shortest way there. Every rule that safety rests on is a [Rule] that
// can be left out, and a test leaves out each in turn: a rule whose absence breaks
// nothing is not needed, or is not modelled. So the table of mutations is the
// smallest set of rules that was found, and each trace in the log of
//
//	go test -v -run TestEveryRuleIsNeeded ./internal/model
//
// is the reason for one of them.
//
// # Promises
//
//   - One owner. Under Fence no two handlers of a partition run at the same time.
//     Under Freeze they may only while one has no trust, its worker being isolated;
//     and, when the store was lost or went back, from then until the session that
//     was without trust has applied the first plan made afterwards and its handler
//     has returned. See excused, which is exactly that.
//   - Revoke first. When a commit that grants a partition is stored, nobody runs it,
//     with the same exception.
//   - Tokens grow with every grant, also when the store was lost or went back. An
//     adopted lease is no grant; of several that are reported the highest is adopted.
//   - One plan. A commit is stored only on top of the commit that it was made from.
//   - One handler of a partition in one process, with no exception.
//   - No false alarm. A store is made anew only if it was lost or went back.
//   - Recovers. In the scopes that say so, from every state that the bounds leave
//     room for there is a way to a state in which everything runs. That is no proof
//     that it is taken, only that no wake-up, slice or refusal is lost for good.
//
// # What is modelled
//
// A session is a slot: the first, second or third nonce of a worker ID. Its worker
// claims the ID, renews, applies its slice, starts handlers and sees them return,
// draws last words, loses the session and joins again with the old handlers still
// running, or dies. A write has a sending, a landing and an answer, each of which
// may be late or missing; a write that nobody waits for may land at any later time.
// Slices may arrive after newer ones. A successor may displace a session that looks
// alive.
//
// A leader is anybody who believes to be one: election is only a licence to try, so
// it is left out. It sees sessions when it looks, as old as its last look. Voluntary
// moves, and to whom, are left open: any choice of any strategy is covered.
//
// Time is ticks. All clocks advance together, except that a worker's may miss one
// tick in any TTL. Scopes that are not about time have no clock; there a leader
// judges silence by an oracle. Server-side expiry may strike at any moment.
//
// The store numbers its writes. It may lose the last few, and then gives the same
// numbers out again: revisions recur, and the model keeps just so much of them that
// they can. Or it is lost as a whole.
//
// # Rules that came out of it
//
// Besides what the design always said, the model asks for these. Without any of them
// there is a trace that ends in a broken promise.
//
//   - A commit that ends a session is conditional on the evidence still standing
//     ([EvidenceStands]). A tombstone, or the gap that a leader concluded from, may
//     be gone by then: expired, resumed over, or lost with the end of the store. With
//     that, and the next rule, a gap may be concluded after its TTL under Freeze, too.
//   - A resumption is conditional on the own key and on the plan as it was read
//     ([ResumeNamesPlan]): the plan may have moved on between the two.
//   - The first plan of an incarnation comes in two commits, after the longest TTL
//     ([FirstPlanWaits]). The first decides nothing and closes the door: from then on
//     nobody resumes on the ground that no plan stands. The second adopts what the
//     records say that were read after the first ([DoorFirst]).
//   - Who resumes where no plan stands keeps what runs and starts nothing of what its
//     old slice still grants ([ResumeStartsNothing]). After a lapse of trust nothing
//     is started before the slice was read again ([ReviewAfterLapse]).
//   - Under Fence a session whose trust has lapsed is over; it is not renewed again
//     ([LapseEndsSession]). After going back the store could accept that.
//   - What proves that the store went back is an accepted write: one numbered below
//     an earlier one, or one conditional on a revision that is known to have been
//     superseded ([ProofByCondition]). Numbers alone are not enough: when others have
//     written as much as was lost, they tell nothing. Such an answer extends no trust
//     ([ProofIsNoTrust]): the store is made anew first.
//   - A commit is conditional, besides the plan's revision, on a key that only the
//     commit it follows can have written, such as its log record if that is named by
//     version and nonce ([CommitNamesBase]). The plan's revision may recur.
//   - Nobody may be left who remembers the versions that were lost. So a version is
//     also above what the clock says could have been given out, as the first
//     incarnation is ([VersionsFollowClock]). The model's clock is ideal: it never
//     stands behind a version that was given out.
//   - The TTL of a member stands in the plan. A leader that comes after the member was
//     displaced learns it nowhere else. The model's leaders just know it.
//
// # Where what is built differs
//
// Three of these rules stand otherwise in what is built. That what stands there instead is
// enough is not shown here: package sim, which runs what is built, looks for the cases.
//
//   - [EvidenceStands]: a commit there names the plan, the slices and the record of the commit
//     that it follows, and no session. Instead a tombstone has no TTL: it stands until a
//     successor takes the ID, who is granted nothing before its predecessor has ended.
//   - [ResumeNamesPlan]: a resumption there is conditional on the own key alone, after the plan
//     was read. A tombstone in its place refuses it.
//   - [LapseEndsSession]: a session there whose trust has lapsed is renewed when it can be, and
//     says which leases it gave up with the trust; none of them is run again.
//
// # What has to be assumed
//
// While nobody has noticed that the store went back, no rule can keep the promises
// unless the outage was long enough: when the store answers again all trust has ended
// ([OutlastsTrust]), and no write that was under way before lands after it
// ([OutlastsWrites]). Both are in the table of mutations, with the traces of what
// happens otherwise. For a store that is lost neither is needed.
//
// An adopted lease may be older than one that was granted while its holder was cut
// off, if the later holder does not come back. A sink that compares tokens refuses
// it then; the partition is safe but does not get on.
//
// # What is not modelled
//
// Election, probes and the grace periods by which silence is judged under Freeze
// (EmergencyGrace may end a session that still has trust, if its process answers
// nobody); doubt; capacities, pins and quarantine; handlers that return early, and
// those that ignore Hard under Fence, where they are assumed to be gone when trust
// ends; commits that need several batches; records too large or unreadable; more than
// one loss of the store; a bucket that somebody else made from an older copy; processes
// frozen between looking at the clock and acting on it.
package model
