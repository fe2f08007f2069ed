// The stages of AutoencoderKLHunyuanVideo, by the names its tensors have.

extension HunyuanVideoVAEConfig {
    var decoderStages: [any VAEStage] {
        let widths = Array(channels.reversed())
        var stages: [any VAEStage] = [
            ConvolutionStage(
                convolution("post_quant_conv", from: latentChannels, to: latentChannels, kernel: 1),
                padding: .firstBefore),
            ConvolutionStage(
                convolution("decoder.conv_in.conv", from: latentChannels, to: widths[0]), padding: .firstBefore),
        ]
        stages += middle("decoder", widths[0])
        for (level, width) in widths.enumerated() {
            let name = "decoder.up_blocks.\(level)"
            stages += residuals(name, layers + 1, from: level == 0 ? width : widths[level - 1], to: width)
            if level == widths.count - 1 { continue }
            stages.append(
                EnlargeTimeStage(
                    convolution: convolution("\(name).upsamplers.0.conv.conv", from: width, to: width),
                    doublesTime: changesTime(level)))
        }
        stages.append(end("decoder", from: widths[widths.count - 1], to: 3))
        return stages
    }

    var encoderStages: [any VAEStage] {
        var stages: [any VAEStage] = [
            ConvolutionStage(convolution("encoder.conv_in.conv", from: 3, to: channels[0]), padding: .firstBefore)
        ]
        for (level, width) in channels.enumerated() {
            let name = "encoder.down_blocks.\(level)"
            stages += residuals(name, layers, from: level == 0 ? width : channels[level - 1], to: width)
            if level == channels.count - 1 { continue }
            stages.append(
                StrideStage(
                    convolution: convolution("\(name).downsamplers.0.conv.conv", from: width, to: width),
                    frames: changesTime(level) ? 2 : 1))
        }
        stages += middle("encoder", channels[channels.count - 1])
        stages.append(end("encoder", from: channels[channels.count - 1], to: 2 * latentChannels))
        stages.append(
            ConvolutionStage(
                convolution("quant_conv", from: 2 * latentChannels, to: 2 * latentChannels, kernel: 1),
                padding: .firstBefore))
        return stages
    }

    private func changesTime(_ level: Int) -> Bool { level >= channels.count - 1 - timeLevels }

    private func middle(_ part: String, _ width: Int) -> [any VAEStage] {
        let name = "\(part).mid_block"
        let parts = residuals(name, 2, from: width, to: width)
        if !hasAttention { return parts }
        let attention = "\(name).attentions.0"
        func linear(_ part: String) -> VAEConvolution {
            VAEConvolution("\(attention).\(part)", from: width, to: width, kernel: [])
        }
        return [
            parts[0],
            FrameAttentionStage(
                name: attention, norm: norm("\(attention).group_norm", width),
                qkv: ["to_q", "to_k", "to_v"].map(linear), projection: linear("to_out.0"), reach: .past),
            parts[1],
        ]
    }

    private func end(_ part: String, from: Int, to: Int) -> ConvolutionStage {
        ConvolutionStage(
            convolution("\(part).conv_out.conv", from: from, to: to), norm: norm("\(part).conv_norm_out", from),
            padding: .firstBefore)
    }

    private func residuals(_ block: String, _ count: Int, from: Int, to: Int) -> [ResidualStage] {
        (0..<count).map { index in
            let name = "\(block).resnets.\(index)"
            let from = index == 0 ? from : to
            return ResidualStage(
                name: name, norms: (norm("\(name).norm1", from), norm("\(name).norm2", to)),
                first: convolution("\(name).conv1.conv", from: from, to: to),
                second: convolution("\(name).conv2.conv", from: to, to: to),
                shortcut: from == to ? nil : convolution("\(name).conv_shortcut.conv", from: from, to: to, kernel: 1),
                padding: .firstBefore)
        }
    }

    private func convolution(_ name: String, from: Int, to: Int, kernel: Int = 3) -> VAEConvolution {
        VAEConvolution(name, from: from, to: to, kernel: [kernel, kernel, kernel], edge: .replicated)
    }

    private func norm(_ name: String, _ channels: Int) -> VAENorm {
        .group(VAEGroupNorm(name: name, channels: channels, groups: normGroups, epsilon: 1e-6, span: .group))
    }
}
