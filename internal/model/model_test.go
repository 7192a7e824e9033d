package model

import (
	"flag"
	"testing"
	"time"
)

var deep = flag.Bool("model.deep", false, "explore the larger scopes, too: half an hour and some gigabytes")

// largest is the size of the largest scope that is explored; the race detector has
// a smaller one.
var largest = 1_000_000

func skipLarge(t *testing.T, sc Scope) {
	t.Helper()
	if sc.Least > largest || testing.Short() && sc.Least > 10_000 {
		t.Skip("a large scope: make explore")
	}
}

// TestPromises explores every scope to its end. A scope in which less happens
// than it is there for fails, too.
func TestPromises(t *testing.T) {
	t.Parallel()
	for _, sc := range scopes {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			skipLarge(t, sc)
			began := time.Now()
			r := explore(&model{Scope: sc}, 2*sc.Least)
			t.Logf("%s, in %v: %v", sc.Aim, time.Since(began).Round(time.Millisecond), r)
			switch {
			case r.Wrong != Kept:
				t.Errorf("broken: %v", r.Wrong)
			case !r.Full:
				t.Errorf("more than %d states: not explored to its end", 2*sc.Least)
			case r.States < sc.Least:
				t.Errorf("%d states, want at least %d: what is left of this scope?", r.States, sc.Least)
			case sc.Recovers && r.Roomy == 0:
				t.Error("no state from which recovery was looked for")
			}
		})
	}
}

// mutations says in which scope it shows that a rule is missing, and what then
// goes wrong first.
var mutations = []struct {
	without Rule
	scope   string
	breaks  Property
}{
	{MarginCoversDrift, "fence", RevokeFirst},
	{TrustFromSend, "fence", RevokeFirst},
	{TombBeforeGrant, "fence", RevokeFirst},
	{TombConditional, "fence", RevokeFirst},
	{GapNoProof, "fence", RevokeFirst},
	{GrantNeedsReceipt, "handoff", RevokeFirst},
	{ReceiptSince, "handoff", RevokeFirst},
	{DrainingListed, "handoff", RevokeFirst},
	{AppliedOwnSlice, "handoff", RevokeFirst},
	{NewerSliceOnly, "handoff", RevokeFirst},
	{PlanConditional, "terms", OnePlan},
	{RefusalEndsTerm, "terms", RevokeFirst},
	{OwnTTL, "restart", RevokeFirst},
	{PredecessorsFirst, "restart", RevokeFirst},
	{SuccessorNoProof, "restart", RevokeFirst},
	{SliceForNonce, "restart", OneOwner},
	{LastWordsAfterReturn, "restart", RevokeFirst},
	{ReceiptOfNonce, "restart", RevokeFirst},
	{FormerHandlerFirst, "freeze", OneProcess},
	{ResumeReadsPlan, "freeze", OneOwner},
	{EvidenceStands, "freeze", RevokeFirst},
	{OutlastsTrust, "back", RevokeFirst},
	{LapseEndsSession, "back", RevokeFirst},
	{VersionsFollowClock, "back", TokensGrow},
	{ReviewAfterLapse, "back-freeze", RevokeFirst},
	{ProofIsNoTrust, "back-freeze", RevokeFirst},
	{ProofByCondition, "back-freeze", Recovers},
	{ProofMakesAnew, "back-freeze", Recovers},
	{CommitNamesBase, "back-terms", OnePlan},
	{OutlastsWrites, "back-late", TokensGrow},
	{ResumeNamesPlan, "lost", RevokeFirst},
	{ResumeStartsNothing, "lost", RevokeFirst},
	{DoorFirst, "lost", RevokeFirst},
	{HighestTokenWins, "lost", TokensGrow},
	{AdoptOnlyWithoutPlan, "lost", TokensGrow},
	{IncarnationInToken, "lost", TokensGrow},
	{FirstPlanWaits, "lost-fence", RevokeFirst},
	{RevisionsNeverRecur, "lost-fence", RevokeFirst},
	{ProofIsWrite, "stale", NoFalseAlarm},
}

// TestEveryRuleIsNeeded leaves out one rule at a time. Each time a promise must
// break; the log shows the shortest way there.
func TestEveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	tried := map[Rule]bool{}
	for _, mu := range mutations {
		tried[mu.without] = true
		t.Run(mu.without.String(), func(t *testing.T) {
			t.Parallel()
			sc := scopeNamed(t, mu.scope)
			skipLarge(t, sc)
			r := explore(&model{Scope: sc, without: mu.without}, 4*sc.Least)
			t.Logf("%s: broken after %d steps: %v", mu.scope, len(r.Trace), r)
			if r.Wrong != mu.breaks {
				t.Errorf("broke %q, want %q", r.Wrong, mu.breaks)
			}
		})
	}
	for r := noRule + 1; r < ruleEnd; r++ {
		if !tried[r] {
			t.Errorf("%v is not in the table: is it needed?", r)
		}
	}
}

// TestDeep explores larger scopes, as far as memory allows.
func TestDeep(t *testing.T) {
	if !*deep {
		t.Skip("run with -model.deep")
	}
	for _, sc := range larger() {
		t.Run(sc.Name, func(t *testing.T) {
			began := time.Now()
			r := explore(&model{Scope: sc}, sc.Least)
			t.Logf("in %v, to its end: %v: %v", time.Since(began).Round(time.Second), r.Full, r)
			if r.Wrong != Kept {
				t.Errorf("broken: %v", r.Wrong)
			}
		})
	}
}

func scopeNamed(t *testing.T, name string) Scope {
	t.Helper()
	for _, sc := range scopes {
		if sc.Name == name {
			return sc
		}
	}
	t.Fatalf("no scope %q", name)
	return Scope{}
}
