// The stages of AutoencoderKLWan, by the names its tensors have.

extension WanVAEConfig {
    var decoderStages: [any VAEStage] {
        let dims = ([dimMult[dimMult.count - 1]] + dimMult.reversed()).map { $0 * decoderBaseDim }
        // Latent frames come one by one.
        var arrival = FrameArrival.single
        var stages: [any VAEStage] = [
            causal("post_quant_conv", from: zDim, to: zDim, kernel: 1),
            causal("decoder.conv_in", from: zDim, to: dims[0], arrival: arrival),
        ]
        stages += middle("decoder", dims[0], arrival)
        for level in dimMult.indices {
            let name = "decoder.up_blocks.\(level)"
            let isLast = level == dimMult.count - 1
            let splits = !isLast && temporalDownsample[temporalDownsample.count - 1 - level]
            // The 2.1 upsampler before this level has halved the channels already.
            let first = level > 0 && !isResidual ? dims[level] / 2 : dims[level]
            let out = dims[level + 1]
            if isResidual && !isLast { stages.append(RememberStage()) }
            for block in 0...numResBlocks {
                stages.append(
                    residual("\(name).resnets.\(block)", from: block == 0 ? first : out, to: out, arrival))
            }
            if isLast { continue }
            let upsampler = name + (isResidual ? ".upsampler" : ".upsamplers.0")
            if splits {
                arrival = .pairs
                stages.append(
                    SplitTimeStage(
                        convolution: VAEConvolution(
                            "\(upsampler).time_conv", from: out, to: 2 * out, kernel: [3, 1, 1])))
            }
            stages.append(
                EnlargeStage(
                    convolution: VAEConvolution(
                        "\(upsampler).resample.1", from: out, to: isResidual ? out : out / 2, kernel: [3, 3]),
                    shortcut: isResidual ? DuplicatingShortcut(channels: first, frames: splits ? 2 : 1) : nil))
        }
        stages.append(
            causal(
                "decoder.conv_out", from: dims[dimMult.count], to: outChannels, norm: "decoder.norm_out",
                arrival: arrival))
        return stages
    }

    var encoderStages: [any VAEStage] {
        let dims = ([1] + dimMult).map { $0 * baseDim }
        var stages: [any VAEStage] = [causal("encoder.conv_in", from: inChannels, to: dims[0])]
        var flat = 0  // 2.1 numbers blocks and downsamplers in one list
        var mergesLeft = temporalDownsample.count(where: { $0 })
        for level in dimMult.indices {
            let isLast = level == dimMult.count - 1
            let merges = !isLast && temporalDownsample[level]
            let (from, to) = (dims[level], dims[level + 1])
            if isResidual { stages.append(RememberStage()) }
            for block in 0..<numResBlocks {
                let name = isResidual ? "\(level).resnets.\(block)" : "\(flat)"
                stages.append(residual("encoder.down_blocks.\(name)", from: block == 0 ? from : to, to: to))
                flat += 1
            }
            if !isLast {
                let name = "encoder.down_blocks." + (isResidual ? "\(level).downsampler" : "\(flat)")
                flat += 1
                stages.append(
                    ShrinkStage(
                        convolution: VAEConvolution("\(name).resample.1", from: to, to: to, kernel: [3, 3])))
                if merges {
                    stages.append(
                        MergeTimeStage(
                            convolution: VAEConvolution("\(name).time_conv", from: to, to: to, kernel: [3, 1, 1])))
                }
            }
            if isResidual {
                stages.append(AverageStage(channels: to, frames: merges ? 2 : 1, factor: isLast ? 1 : 2))
            }
            if merges {
                mergesLeft -= 1
                // The next halving of time, and the fast convolutions before it, want two frames.
                if mergesLeft > 0 { stages.append(PairStage()) }
            }
        }
        stages += middle("encoder", dims[dimMult.count])
        stages.append(
            causal("encoder.conv_out", from: dims[dimMult.count], to: 2 * zDim, norm: "encoder.norm_out"))
        stages.append(causal("quant_conv", from: 2 * zDim, to: 2 * zDim, kernel: 1))
        return stages
    }

    private func middle(_ part: String, _ channels: Int, _ arrival: FrameArrival = .any) -> [any VAEStage] {
        let attention = "\(part).mid_block.attentions.0"
        return [
            residual("\(part).mid_block.resnets.0", from: channels, to: channels, arrival),
            FrameAttentionStage(
                name: attention, norm: .rms("\(attention).norm", shape: [channels, 1, 1]),
                qkv: [VAEConvolution("\(attention).to_qkv", from: channels, to: 3 * channels, kernel: [1, 1])],
                projection: VAEConvolution("\(attention).proj", from: channels, to: channels, kernel: [1, 1])),
            residual("\(part).mid_block.resnets.1", from: channels, to: channels, arrival),
        ]
    }

    private func causal(
        _ name: String, from: Int, to: Int, kernel: Int = 3, norm: String? = nil, arrival: FrameArrival = .any
    ) -> ConvolutionStage {
        ConvolutionStage(
            VAEConvolution(name, from: from, to: to, kernel: [kernel, kernel, kernel], arrival: arrival),
            norm: norm.map { .rms($0, shape: [from, 1, 1, 1]) })
    }

    private func residual(_ name: String, from: Int, to: Int, _ arrival: FrameArrival = .any) -> ResidualStage {
        func convolution(_ part: String, _ from: Int, kernel: Int) -> VAEConvolution {
            VAEConvolution(
                "\(name).\(part)", from: from, to: to, kernel: [kernel, kernel, kernel], arrival: arrival)
        }
        return ResidualStage(
            name: name,
            norms: (
                .rms("\(name).norm1", shape: [from, 1, 1, 1]), .rms("\(name).norm2", shape: [to, 1, 1, 1])
            ),
            first: convolution("conv1", from, kernel: 3), second: convolution("conv2", to, kernel: 3),
            shortcut: from == to ? nil : convolution("conv_shortcut", from, kernel: 1))
    }
}
