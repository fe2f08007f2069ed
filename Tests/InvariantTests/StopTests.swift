import Testing
import VDiT

/// What becomes of the step at work when a job is asked to stop.
struct StopTests {
    @Test func nothingIsSaidUntilSomebodyAsks() {
        let stop = StopFlag()
        let watch = StepWatch(stop, expected: 5)
        #expect(watch.poll() == .none && !stop.isStopping)
        stop.requestCheckpoint()
        #expect(watch.poll() == .none && !stop.isStopping)
    }

    @Test func aStepThatEndsSoonIsFinishedAndThatIsSaidOnce() throws {
        let stop = StopFlag()
        let watch = StepWatch(stop, expected: 5)
        stop.requestStop(within: 30)
        #expect(stop.isStopping)
        guard case .finishing(let seconds) = watch.poll() else {
            Issue.record("not finished")
            return
        }
        #expect(seconds > 0 && seconds <= 5)
        #expect(watch.poll() == .none)
    }

    @Test func aStepThatTakesTooLongOrNobodyKnowsHowLongIsGivenUp() throws {
        let stop = StopFlag()
        stop.requestStop(within: 30)
        guard case .givingUp(let seconds?) = StepWatch(stop, expected: 100).poll() else {
            Issue.record("not given up")
            return
        }
        #expect(seconds > 30 && seconds <= 100)
        #expect(StepWatch(stop, expected: nil).poll() == .givingUp(seconds: nil))
    }

    @Test func aStepIsGivenUpOnASecondRequestAndAtTheEndOfItsGrace() {
        for ask in [{ $0.requestStop() }, { $0.requestStop(within: 0) }] as [(StopFlag) -> Void] {
            let stop = StopFlag()
            let watch = StepWatch(stop, expected: 5)
            stop.requestStop(within: 30)
            #expect(watch.poll() != .none)
            ask(stop)
            guard case .givingUp = watch.poll() else {
                Issue.record("not given up")
                return
            }
        }
    }

    @Test func aLaterRequestPutsNothingOffAndAParentAsksToo() {
        let parent = StopFlag()
        let stop = StopFlag(following: parent)
        stop.requestStop(within: 1000)
        guard case .finishing = StepWatch(stop, expected: 100).poll() else {
            Issue.record("not finished")
            return
        }
        parent.requestStop()
        parent.requestStop(within: 1000)
        guard case .givingUp = StepWatch(stop, expected: 0).poll() else {
            Issue.record("not given up")
            return
        }
    }
}
