// The stages of AutoencoderKLMochi's decoder, and its encoder's tensors, by their names.

extension MochiVAEConfig {
    public var tensors: [(name: String, shape: [Int])] { encoderTensors + decoderStages.tensors }

    var encoderStages: [any VAEStage] { [] }

    var decoderStages: [any VAEStage] {
        let levels = channels.count
        let (first, last) = (channels[levels - 1], channels[0])
        var stages: [any VAEStage] = [
            ConvolutionStage(
                VAEConvolution("decoder.conv_in", from: latentChannels, to: first, kernel: [1, 1, 1]))
        ]
        stages += residuals("decoder.block_in", layers[levels], first)
        for level in 0..<levels - 1 {
            let name = "decoder.up_blocks.\(level)"
            let (from, to) = (channels[levels - 1 - level], channels[levels - 2 - level])
            let frames = temporalExpansions[levels - 2 - level]
            stages += residuals(name, layers[levels - 1 - level], from)
            stages.append(
                UnfoldStage(
                    convolution: VAEConvolution("\(name).proj", from: from, to: to * 4 * frames, kernel: []),
                    frames: frames, makesOneOfFirst: false))
        }
        stages += residuals("decoder.block_out", layers[0], last)
        stages.append(
            ConvolutionStage(VAEConvolution("decoder.proj_out", from: last, to: 3, kernel: []), norm: .identity))
        return stages
    }

    private func residuals(_ block: String, _ count: Int, _ width: Int) -> [ResidualStage] {
        (0..<count).map { index in
            let name = "\(block).resnets.\(index)"
            func norm(_ part: String) -> VAENorm {
                .group(
                    VAEGroupNorm(
                        name: "\(name).\(part).norm_layer", channels: width, groups: 32, epsilon: 1e-5, span: .frame))
            }
            func convolution(_ part: String) -> VAEConvolution {
                VAEConvolution("\(name).\(part).conv", from: width, to: width, kernel: [3, 3, 3], edge: .replicated)
            }
            return ResidualStage(
                name: name, norms: (norm("norm1"), norm("norm2")), first: convolution("conv1"),
                second: convolution("conv2"), shortcut: nil, padding: .firstBefore)
        }
    }

    private var encoderTensors: [(name: String, shape: [Int])] {
        let levels = encoderChannels.count
        let last = encoderChannels[levels - 1]
        var list = TensorList()
        func block(_ name: String, _ part: Int, _ width: Int) {
            for index in 0..<layers[part] {
                for (name, shape) in residuals("encoder.\(name)", layers[part], width)[index].tensors {
                    list.add(name, shape)
                }
                if !encoderAttention[part] { continue }
                list.affine("encoder.\(name).norms.\(index).norm_layer", width)
                for layer in ["to_q", "to_k", "to_v"] {
                    list.add("encoder.\(name).attentions.\(index).\(layer).weight", [width, width])
                }
                list.linear("encoder.\(name).attentions.\(index).to_out.0", width, width)
            }
        }
        // Pixels with the sines and cosines of two frequencies.
        list.linear("encoder.proj_in", 15, encoderChannels[0])
        block("block_in", 0, encoderChannels[0])
        for level in 0..<levels - 1 {
            let (from, to) = (encoderChannels[level], encoderChannels[level + 1])
            let name = "down_blocks.\(level)"
            list.add("encoder.\(name).conv_in.conv.weight", [to, from, temporalExpansions[level], 2, 2])
            list.add("encoder.\(name).conv_in.conv.bias", [to])
            block(name, level + 1, to)
        }
        block("block_out", levels, last)
        list.affine("encoder.norm_out.norm_layer", last)
        list.add("encoder.proj_out.weight", [2 * latentChannels, last])
        return list.all
    }
}
