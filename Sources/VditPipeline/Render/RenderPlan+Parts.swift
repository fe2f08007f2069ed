import VditAttention
import VditModels

extension RenderPlan {
    /// A part of the loop: the steps that one transformer serves at one size. Sparse methods and step caches begin anew
    /// in each.
    struct Part: Sendable {
        /// Index of the transformer.
        let transformer: Int
        let latents: LatentShape
        let layouts: [AttentionSite.Branch: TokenLayout]
        let calls: TransformerCalls
        /// Of a call, with what the method adds that the model was trained with.
        let work: TransformerWork
    }

    /// Latents of one size, how their tokens lie, and the steps that have it.
    struct Size {
        let latents: LatentShape
        let layouts: [AttentionSite.Branch: TokenLayout]
        let steps: Range<Int>
    }

    /// The sizes of the loop, the full one last.
    ///
    /// - Parameter framesAhead: latent frames that the model sees ahead of the video's.
    /// - Throws: as `tokenLayout`, naming the setting.
    static func sizes(
        _ settings: RenderSettings, _ model: ModelSpecification, _ text: TextTokens, framesAhead: Int
    ) throws -> [Size] {
        let full = model.latentShape(
            width: settings.width, height: settings.height, numFrames: settings.numFrames)
        let all = settings.sizes?.latents(of: full, patch: model.transformer.patchExtents) ?? [full]
        let steps = settings.sizes?.steps(of: settings.steps) ?? [0..<settings.steps]
        return try zip(all, steps).map { latents, steps in
            var shown = latents
            shown.frames += framesAhead
            return Size(
                latents: latents,
                layouts: [
                    .conditional: try layout(model.transformer, shown, text.conditional),
                    .unconditional: try layout(model.transformer, shown, text.unconditional),
                ], steps: steps)
        }
    }

    private static func layout(
        _ transformer: any TransformerSpecification, _ latents: LatentShape, _ textTokens: Int
    ) throws -> TokenLayout {
        do {
            return try transformer.tokenLayout(latents, textTokens: textTokens)
        } catch {
            guard case .invalid(let what, let found, let expected, _) = error else { throw error }
            // The extents follow from what was asked.
            let setting = ["latent frames": "num_frames", "latent height": "height", "latent width": "width"][what]
            throw PipelineError.setting(setting ?? what, found: "\(found) in the latents", expected: expected)
        }
    }

    /// The run's sampler: one for every size that has the loop for a time.
    static func scheduler(
        _ settings: RenderSettings, _ model: ModelSpecification, _ sizes: [Size]
    ) throws(PipelineError) -> any Scheduler {
        var parts: [SizedScheduler.Part] = []
        for (index, size) in sizes.enumerated() {
            var configuration = settings.scheduler
            if let shifts = settings.sizeShifts?.values { configuration.flowShift = shifts[index] }
            let scheduler = try configuration.scheduler(
                steps: settings.steps, tokens: size.layouts[.conditional]?.videoTokens ?? 0,
                start: model.defaults.spacing, noise: .seed(UInt64(settings.seed), model.defaults.drawOrder))
            parts.append(SizedScheduler.Part(scheduler: scheduler, steps: size.steps, latents: size.latents))
        }
        var scheduler = parts[0].scheduler
        if parts.count > 1 { scheduler = SizedScheduler(parts, seed: UInt64(settings.seed)) }
        if let strength = settings.strength { scheduler.skip(settings.steps - strength.share(of: settings.steps)) }
        return scheduler
    }

    /// - Parameter isTrained: whether the model was trained with the method.
    static func parts(
        _ settings: RenderSettings, _ model: ModelSpecification, _ sizes: [Size], _ steps: [Step], _ text: TextTokens,
        isTrained: Bool
    ) -> [Part] {
        let last = model.transformers.count - 1
        let times = settings.scheduler.trainTimesteps
        let serving = steps.map { step in
            model.transformers.firstIndex { step.timestep >= Float($0.boundary * Double(times)) } ?? last
        }
        let guidance = settings.guidance
        let guided = zip(steps, serving).map { guidance[min($1, guidance.count - 1)].applies(to: $0) }
        func range(_ isIn: (Int) -> Bool) -> Range<Int> {
            let own = steps.indices.filter(isIn)
            return own.first.map { $0..<(own.last ?? $0) + 1 } ?? 0..<0
        }
        return sizes.flatMap { size in
            let layout = size.layouts[.conditional]!
            var work = model.transformer.work(layout, textTokens: text.conditional)
            if isTrained { work.other += work.trained }
            return model.transformers.indices.map { index in
                func isIn(_ step: Int) -> Bool {
                    serving[step] == index && (sizes.count == 1 || size.steps.contains(step))
                }
                return Part(
                    transformer: index, latents: size.latents, layouts: size.layouts,
                    calls: TransformerCalls(
                        model: model.defaults.name, steps: steps.count, served: range(isIn),
                        guided: range { isIn($0) && guided[$0] }, isGuided: guided.contains(true)),
                    work: work)
            }
        }
    }
}
