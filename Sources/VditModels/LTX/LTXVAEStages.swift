// The stages of AutoencoderKLLTXVideo, by the names its tensors have.

extension LTXVAEConfig {
    var decoderStages: [any VAEStage] {
        let widths = decoder.channels
        var stages: [any VAEStage] = [convolution("decoder.conv_in", from: latentChannels, to: widths[0], .bothEdges)]
        for index in 0..<decoder.layers[0] {
            stages.append(decoderResidual("decoder.mid_block", "resnets.\(index)", from: widths[0], part: 0))
        }
        for level in decoder.doubles.indices {
            let name = "decoder.up_blocks.\(level)"
            let (before, width) = (widths[level], widths[level + 1])
            if before / decoder.factors[level] != width {
                stages.append(decoderResidual(name, "conv_in", from: before, to: width, part: level + 1))
            }
            if decoder.doubles[level] {
                let inside = width * decoder.factors[level]
                stages.append(
                    UnfoldStage(
                        convolution: VAEConvolution(
                            "\(name).upsamplers.0.conv.conv", from: inside, to: width * 8, kernel: [3, 3, 3]),
                        addsInput: decoder.addsInput[level], padding: .bothEdges))
            }
            for index in 0..<decoder.layers[level + 1] {
                stages.append(decoderResidual(name, "resnets.\(index)", from: width, part: level + 1))
            }
        }
        let last = widths[widths.count - 1]
        stages.append(
            convolution(
                "decoder.conv_out", from: last, to: 3 * patchSize * patchSize, .bothEdges,
                norm: .plain(channels: last, modulation("decoder", of: "decoder", pairs: 1, channels: last, pair: 0))))
        return stages
    }

    var encoderStages: [any VAEStage] {
        let widths = encoder.channels
        var stages: [any VAEStage] = [
            convolution("encoder.conv_in", from: 3 * patchSize * patchSize, to: widths[0], .firstBefore)
        ]
        for (level, downsampler) in encoder.downsamplers.enumerated() {
            let name = "encoder.down_blocks.\(level)"
            let (width, next) = (widths[level], widths[min(level + 1, widths.count - 1)])
            for index in 0..<encoder.layers[level] {
                stages.append(residual("\(name).resnets.\(index)", from: width, to: width, .firstBefore))
            }
            switch downsampler {
            case .none: break
            case .conv:
                stages.append(
                    StrideStage(
                        convolution: VAEConvolution(
                            "\(name).downsamplers.0.conv", from: width, to: width, kernel: [3, 3, 3])))
            case .spatial, .temporal, .spatiotemporal:
                let folds = downsampler.folds
                stages.append(
                    FoldStage(
                        convolution: VAEConvolution(
                            "\(name).downsamplers.0.conv.conv", from: width, to: next / downsampler.places,
                            kernel: [3, 3, 3]),
                        frames: folds.frames, factor: folds.factor))
            }
            if !encoder.widensInDownsampler, width != next {
                stages.append(residual("\(name).conv_out", from: width, to: next, .firstBefore))
            }
        }
        let last = widths[widths.count - 1]
        for index in 0..<encoder.layers[encoder.layers.count - 1] {
            stages.append(residual("encoder.mid_block.resnets.\(index)", from: last, to: last, .firstBefore))
        }
        stages.append(
            convolution(
                "encoder.conv_out", from: last, to: latentChannels + 1, .firstBefore,
                norm: .plain(channels: last, nil)))
        return stages
    }

    /// Tensors of the layers that embed the decode's time, one set for the middle, each level and the end.
    var embedderTensors: [(name: String, shape: [Int])] {
        guard decoder.takesTime else { return [] }
        var list = TensorList()
        var blocks = [("decoder.mid_block", 4 * decoder.channels[0])]
        blocks += decoder.doubles.indices.map { ("decoder.up_blocks.\($0)", 4 * decoder.channels[$0 + 1]) }
        blocks.append(("decoder", 2 * decoder.channels[decoder.channels.count - 1]))
        for (block, width) in blocks {
            list.linear("\(embedder(of: block)).linear_1", 256, width)
            list.linear("\(embedder(of: block)).linear_2", width, width)
        }
        return list.all
    }

    private func embedder(of block: String) -> String { "\(block).time_embedder.timestep_embedder" }

    private func modulation(_ name: String, of block: String, pairs: Int, channels: Int, pair: Int) -> VAEModulation? {
        guard decoder.takesTime else { return nil }
        return VAEModulation(
            table: "\(name).scale_shift_table", pairs: pairs, channels: channels, pair: pair,
            embedder: embedder(of: block))
    }

    private func convolution(
        _ name: String, from: Int, to: Int, _ padding: TimePadding, norm: VAENorm? = nil
    ) -> ConvolutionStage {
        ConvolutionStage(
            VAEConvolution("\(name).conv", from: from, to: to, kernel: [3, 3, 3]), norm: norm, padding: padding)
    }

    private func decoderResidual(
        _ block: String, _ name: String, from: Int, to: Int? = nil, part: Int
    ) -> ResidualStage {
        residual(
            "\(block).\(name)", from: from, to: to ?? from, .bothEdges, time: block,
            injectsNoise: decoder.injectsNoise[part])
    }

    /// - Parameter time: the block whose embedding of the decode's time moves the norms; nil for none.
    private func residual(
        _ name: String, from: Int, to: Int, _ padding: TimePadding, time block: String? = nil,
        injectsNoise: Bool = false
    ) -> ResidualStage {
        func norm(_ pair: Int, _ channels: Int) -> VAENorm {
            .plain(
                channels: channels,
                block.flatMap { modulation(name, of: $0, pairs: 2, channels: channels, pair: pair) })
        }
        return ResidualStage(
            name: name, norms: (norm(0, from), norm(1, to)),
            first: VAEConvolution("\(name).conv1.conv", from: from, to: to, kernel: [3, 3, 3]),
            second: VAEConvolution("\(name).conv2.conv", from: to, to: to, kernel: [3, 3, 3]),
            shortcut: from == to
                ? nil : VAEConvolution("\(name).conv_shortcut.conv", from: from, to: to, kernel: [1, 1, 1]),
            shortcutNorm: from == to ? nil : "\(name).norm3", padding: padding, injectsNoise: injectsNoise)
    }
}
