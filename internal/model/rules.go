package model

// A Rule is one rule of the protocol that keeps a promise. Each can be left out,
// and the test shows what then goes wrong.
type Rule uint8

// The rules.
const (
	noRule Rule = iota

	// The worker's.

	MarginCoversDrift    // trust ends FenceMargin before the TTL
	TrustFromSend        // trust counts from when the renewal was sent, not from its answer
	SliceForNonce        // a slice counts for the nonce that it is addressed to
	NewerSliceOnly       // a slice older than the applied one changes nothing
	FormerHandlerFirst   // no handler starts while one of the process's earlier session runs
	LastWordsAfterReturn // `left` is written once no handler runs
	LapseEndsSession     // Fence: a session whose trust has ended is not renewed any more
	DrainingListed       // a record lists the tokens that run and are no longer granted
	AppliedOwnSlice      // `applied` is the version of the own slice, not of the plan
	ResumeNamesPlan      // a resumption is conditional on the plan it goes by
	ResumeReadsPlan      // a resumption is tried only if the plan names the nonce, or none stands
	ReviewAfterLapse     // after a lapse it starts nothing before it has read its slice again
	ResumeStartsNothing  // where no plan stands it goes on with what runs, and starts nothing

	// The leader's.

	TombBeforeGrant      // silence alone is no evidence: the tombstone is
	TombConditional      // a tombstone is conditional on the key's last revision
	OwnTTL               // what is waited for is the session's own TTL
	PredecessorsFirst    // a tombstone waits for every earlier session of its ID
	SuccessorNoProof     // a newer session under the same ID does not prove the end of the older
	GapNoProof           // a key that is gone does not prove the end of its session
	GrantNeedsReceipt    // a partition is granted after the receipt for its former lease
	ReceiptOfNonce       // a receipt is of the nonce that had the lease
	ReceiptSince         // a receipt says applied >= the version that asked
	PlanConditional      // a commit is conditional on the plan's last revision
	RefusalEndsTerm      // a refused commit makes the leader read the plan anew
	AdoptOnlyWithoutPlan // a resumed lease is adopted only where no plan stands
	HighestTokenWins     // of several that report a partition the highest token is adopted
	FirstPlanWaits       // the first plan of an incarnation waits for the longest TTL
	DoorFirst            // it decides nothing; the next goes by what is read after it
	EvidenceStands       // a commit is conditional on the evidence that it concludes from

	// The store's, lost or gone back.

	RevisionsNeverRecur // a store made anew goes on above every revision ever given out
	IncarnationInToken  // its incarnation is higher, and part of every version and token
	ProofIsNoTrust      // an answer that is proof extends no trust; the store is made anew first
	ProofMakesAnew      // who has proof that the store went back makes it anew
	ProofIsWrite        // a read is no proof: an accepted write is
	ProofByCondition    // an accepted write conditional on a superseded revision is proof too
	CommitNamesBase     // a commit is also conditional on the record of the commit it follows
	VersionsFollowClock // a term's first version is above what the clock says could have been
	OutlastsTrust       // assumption: when a store that went back answers again, all trust has ended
	OutlastsWrites      // assumption: and what was under way has landed or never will

	ruleEnd
)

var ruleNames = [ruleEnd]string{
	MarginCoversDrift: "margin covers drift", TrustFromSend: "trust from the send", SliceForNonce: "slice for a nonce",
	NewerSliceOnly: "newer slices only", FormerHandlerFirst: "former handler first", LastWordsAfterReturn: "last words after return",
	LapseEndsSession: "lapse ends the session", DrainingListed: "draining listed", AppliedOwnSlice: "applied is the own slice's",
	ResumeNamesPlan: "resumption names the plan", ResumeReadsPlan: "resumption reads the plan", ReviewAfterLapse: "review after a lapse", ResumeStartsNothing: "resumption starts nothing",
	TombBeforeGrant: "tombstone before grant", TombConditional: "tombstone conditional", OwnTTL: "session's own TTL",
	PredecessorsFirst: "predecessors first", SuccessorNoProof: "successor no proof", GapNoProof: "gap no proof", GrantNeedsReceipt: "grant needs receipt", ReceiptOfNonce: "receipt of the nonce",
	ReceiptSince: "receipt since the version", PlanConditional: "plan conditional", RefusalEndsTerm: "refusal ends the term",
	AdoptOnlyWithoutPlan: "adopt only without plan", HighestTokenWins: "highest token wins", FirstPlanWaits: "first plan waits",
	DoorFirst: "door first", EvidenceStands: "evidence stands",
	RevisionsNeverRecur: "revisions never recur", IncarnationInToken: "incarnation in token", ProofIsNoTrust: "proof is no trust", ProofMakesAnew: "proof makes anew",
	ProofIsWrite: "proof is a write", ProofByCondition: "proof by condition", CommitNamesBase: "commit names its base",
	VersionsFollowClock: "versions follow the clock", OutlastsTrust: "outage outlasts trust", OutlastsWrites: "outage outlasts writes",
}

func (r Rule) String() string { return ruleNames[r] }

// A Property is a promise that the model checks.
type Property uint8

// The promises.
const (
	Kept         Property = iota
	OneOwner              // two owners of a partition, none of them excused
	RevokeFirst           // a partition was granted while its former owner ran it, not excused
	TokensGrow            // a grant's token was not above all earlier ones of the partition
	OnePlan               // a commit landed on another plan than the one it was made from
	OneProcess            // two handlers of one partition in one process
	NoFalseAlarm          // a store was made anew that was neither lost nor gone back
	Recovers              // from a state nothing leads back to where everything runs
)

func (p Property) String() string {
	return [...]string{"kept", "one owner", "revoke before grant", "tokens grow", "one plan", "one handler per process", "no false alarm", "recovers"}[p]
}
