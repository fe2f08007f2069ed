// The stages of AutoencoderKLCogVideoX, by the names its tensors have.

extension CogVideoXVAEConfig {
    var decoderStages: [any VAEStage] {
        let widths = Array(channels.reversed())
        var stages: [any VAEStage] = [
            ConvolutionStage(
                convolution("decoder.conv_in.conv", from: latentChannels, to: widths[0]), padding: .firstBefore)
        ]
        stages += residuals("decoder.mid_block", 2, from: widths[0], to: widths[0], isGuided: true)
        for (level, width) in widths.enumerated() {
            let name = "decoder.up_blocks.\(level)"
            stages += residuals(
                name, layers + 1, from: level == 0 ? width : widths[level - 1], to: width, isGuided: true)
            if level == widths.count - 1 { continue }
            stages.append(
                EnlargeStage(
                    convolution: VAEConvolution(
                        "\(name).upsamplers.0.conv", from: width, to: width, kernel: [3, 3]), shortcut: nil))
            if level < timeLevels { stages.append(RepeatTimeStage(name: "\(name).repeat")) }
        }
        stages.append(end("decoder", from: widths[widths.count - 1], to: 3, isGuided: true))
        return stages
    }

    var encoderStages: [any VAEStage] {
        var stages: [any VAEStage] = [
            ConvolutionStage(convolution("encoder.conv_in.conv", from: 3, to: channels[0]), padding: .firstBefore)
        ]
        for (level, width) in channels.enumerated() {
            let name = "encoder.down_blocks.\(level)"
            stages += residuals(
                name, layers, from: level == 0 ? width : channels[level - 1], to: width, isGuided: false)
            if level == channels.count - 1 { continue }
            if level < timeLevels { stages.append(MeanTimeStage(name: "\(name).mean")) }
            stages.append(
                ShrinkStage(
                    convolution: VAEConvolution(
                        "\(name).downsamplers.0.conv", from: width, to: width, kernel: [3, 3])))
        }
        let last = channels[channels.count - 1]
        stages += residuals("encoder.mid_block", 2, from: last, to: last, isGuided: false)
        stages.append(end("encoder", from: last, to: 2 * latentChannels, isGuided: false))
        return stages
    }

    private func convolution(_ name: String, from: Int, to: Int) -> VAEConvolution {
        VAEConvolution(name, from: from, to: to, kernel: [3, 3, 3])
    }

    private func end(_ part: String, from: Int, to: Int, isGuided: Bool) -> ConvolutionStage {
        ConvolutionStage(
            convolution("\(part).conv_out.conv", from: from, to: to),
            norm: norm("\(part).norm_out", from, isGuided: isGuided), padding: .firstBefore)
    }

    /// - Parameter isGuided: whether norms are guided by the latents: those of the decoder.
    private func residuals(_ block: String, _ count: Int, from: Int, to: Int, isGuided: Bool) -> [ResidualStage] {
        (0..<count).map { index in
            let name = "\(block).resnets.\(index)"
            let from = index == 0 ? from : to
            return ResidualStage(
                name: name,
                norms: (
                    norm("\(name).norm1", from, isGuided: isGuided), norm("\(name).norm2", to, isGuided: isGuided)
                ),
                first: convolution("\(name).conv1.conv", from: from, to: to),
                second: convolution("\(name).conv2.conv", from: to, to: to),
                shortcut: from == to
                    ? nil : VAEConvolution("\(name).conv_shortcut", from: from, to: to, kernel: [1, 1, 1]),
                padding: .firstBefore)
        }
    }

    private func norm(_ name: String, _ channels: Int, isGuided: Bool) -> VAENorm {
        func pointwise(_ part: String) -> VAEConvolution {
            VAEConvolution("\(name).\(part).conv", from: latentChannels, to: channels, kernel: [1, 1, 1])
        }
        return .group(
            VAEGroupNorm(
                name: isGuided ? "\(name).norm_layer" : name, channels: channels, groups: normGroups, epsilon: 1e-6,
                span: .group, guide: isGuided ? (pointwise("conv_y"), pointwise("conv_b")) : nil))
    }
}
