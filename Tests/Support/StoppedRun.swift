import Testing
import VDiT

extension RenderJob {
    /// The record of this job's run when it is stopped behind its second step and then gone on with.
    ///
    /// - Parameter path: of another video to make; nil makes the job's own again.
    public func stoppedAndGoneOn(to path: String? = nil) throws -> RunRecord {
        var job = self
        job.destination.path = path ?? destination.path
        job.checkpointEverySteps = 1
        let stop = StopFlag()
        #expect(throws: PipelineError.self) {
            try Renderer(job).run(stop: stop) { if case .step(2, _, _) = $0 { stop.requestStop() } }
        }
        job.resume = .required
        return try Renderer(job).run()
    }
}
