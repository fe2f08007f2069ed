/// One step of the encoder or decoder, by the name its tensors have.
enum WanVAEStage {
    /// Causal convolution, `kernel` in time, height and width; after a norm and SiLU if `norm` is given.
    case causal(String, from: Int, to: Int, kernel: Int, norm: String? = nil)
    case residual(String, from: Int, to: Int)
    case attention(String, channels: Int)
    /// Doubles time (not of the first frame).
    case splitTime(String, channels: Int)
    /// Halves time (not of the first frame).
    case mergeTime(String, channels: Int)
    /// Doubles height and width; the shortcut duplicates the remembered frames' channels (2.2).
    case enlarge(String, from: Int, to: Int, shortcut: (channels: Int, frames: Int)? = nil)
    /// Halves height and width.
    case shrink(String, channels: Int)
    /// Keeps its input for a shortcut.
    case remember
    /// Adds the average of the remembered frames over `frames` in time and `factor` in height and width.
    case average(from: Int, to: Int, frames: Int, factor: Int)
    /// Waits for a second frame (not after the first).
    case pair

    /// The name intermediates are recorded under.
    var name: String {
        switch self {
        case .causal(let name, _, _, _, _), .residual(let name, _, _), .attention(let name, _),
            .splitTime(let name, _), .mergeTime(let name, _), .enlarge(let name, _, _, _),
            .shrink(let name, _):
            name
        case .remember: "remember"
        case .average: "average"
        case .pair: "pair"
        }
    }

    var tensors: [(name: String, shape: [Int])] {
        func convolution(_ name: String, _ shape: [Int]) -> [(String, [Int])] {
            [(name + ".weight", shape), (name + ".bias", [shape[0]])]
        }
        switch self {
        case .causal(let name, let from, let to, let kernel, let norm):
            return convolution(name, [to, from, kernel, kernel, kernel])
                + (norm.map { [($0 + ".gamma", [from, 1, 1, 1])] } ?? [])
        case .residual(let name, let from, let to):
            return [(name + ".norm1.gamma", [from, 1, 1, 1]), (name + ".norm2.gamma", [to, 1, 1, 1])]
                + convolution(name + ".conv1", [to, from, 3, 3, 3])
                + convolution(name + ".conv2", [to, to, 3, 3, 3])
                + (from == to ? [] : convolution(name + ".conv_shortcut", [to, from, 1, 1, 1]))
        case .attention(let name, let channels):
            return [(name + ".norm.gamma", [channels, 1, 1])]
                + convolution(name + ".to_qkv", [3 * channels, channels, 1, 1])
                + convolution(name + ".proj", [channels, channels, 1, 1])
        case .splitTime(let name, let channels):
            return convolution(name, [2 * channels, channels, 3, 1, 1])
        case .mergeTime(let name, let channels):
            return convolution(name, [channels, channels, 3, 1, 1])
        case .enlarge(let name, let from, let to, _):
            return convolution(name, [to, from, 3, 3])
        case .shrink(let name, let channels):
            return convolution(name, [channels, channels, 3, 3])
        case .remember, .average, .pair:
            return []
        }
    }
}

extension WanVAEConfig {
    var decoderStages: [WanVAEStage] {
        let dims = ([dimMult[dimMult.count - 1]] + dimMult.reversed()).map { $0 * decoderBaseDim }
        var stages: [WanVAEStage] = [
            .causal("post_quant_conv", from: zDim, to: zDim, kernel: 1),
            .causal("decoder.conv_in", from: zDim, to: dims[0], kernel: 3),
        ]
        stages += middle("decoder", dims[0])
        for level in dimMult.indices {
            let name = "decoder.up_blocks.\(level)"
            let isLast = level == dimMult.count - 1
            let splits = !isLast && temporalDownsample[temporalDownsample.count - 1 - level]
            // The 2.1 upsampler before this level has halved the channels already.
            let first = level > 0 && !isResidual ? dims[level] / 2 : dims[level]
            let out = dims[level + 1]
            if isResidual && !isLast { stages.append(.remember) }
            for block in 0...numResBlocks {
                stages.append(.residual("\(name).resnets.\(block)", from: block == 0 ? first : out, to: out))
            }
            if isLast { continue }
            let upsampler = name + (isResidual ? ".upsampler" : ".upsamplers.0")
            if splits { stages.append(.splitTime("\(upsampler).time_conv", channels: out)) }
            stages.append(
                .enlarge(
                    "\(upsampler).resample.1", from: out, to: isResidual ? out : out / 2,
                    shortcut: isResidual ? (channels: first, frames: splits ? 2 : 1) : nil))
        }
        stages.append(
            .causal(
                "decoder.conv_out", from: dims[dimMult.count], to: outChannels, kernel: 3,
                norm: "decoder.norm_out"))
        return stages
    }

    var encoderStages: [WanVAEStage] {
        let dims = ([1] + dimMult).map { $0 * baseDim }
        var stages: [WanVAEStage] = [.causal("encoder.conv_in", from: inChannels, to: dims[0], kernel: 3)]
        var flat = 0  // 2.1 numbers blocks and downsamplers in one list
        var mergesLeft = temporalDownsample.count(where: { $0 })
        for level in dimMult.indices {
            let isLast = level == dimMult.count - 1
            let merges = !isLast && temporalDownsample[level]
            let (from, to) = (dims[level], dims[level + 1])
            if isResidual { stages.append(.remember) }
            for block in 0..<numResBlocks {
                let name = isResidual ? "\(level).resnets.\(block)" : "\(flat)"
                stages.append(.residual("encoder.down_blocks.\(name)", from: block == 0 ? from : to, to: to))
                flat += 1
            }
            if !isLast {
                let name = "encoder.down_blocks." + (isResidual ? "\(level).downsampler" : "\(flat)")
                flat += 1
                stages.append(.shrink("\(name).resample.1", channels: to))
                if merges { stages.append(.mergeTime("\(name).time_conv", channels: to)) }
            }
            if isResidual {
                stages.append(.average(from: from, to: to, frames: merges ? 2 : 1, factor: isLast ? 1 : 2))
            }
            if merges {
                mergesLeft -= 1
                // The next halving of time, and the fast convolutions before it, want two frames.
                if mergesLeft > 0 { stages.append(.pair) }
            }
        }
        stages += middle("encoder", dims[dimMult.count])
        stages.append(
            .causal(
                "encoder.conv_out", from: dims[dimMult.count], to: 2 * zDim, kernel: 3,
                norm: "encoder.norm_out"))
        stages.append(.causal("quant_conv", from: 2 * zDim, to: 2 * zDim, kernel: 1))
        return stages
    }

    private func middle(_ part: String, _ channels: Int) -> [WanVAEStage] {
        [
            .residual("\(part).mid_block.resnets.0", from: channels, to: channels),
            .attention("\(part).mid_block.attentions.0", channels: channels),
            .residual("\(part).mid_block.resnets.1", from: channels, to: channels),
        ]
    }
}
