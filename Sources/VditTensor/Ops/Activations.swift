import Glibc

/// `x · sigmoid(x)` in place, for the small vectors of time embeddings; f32.
public func silu(_ x: Tensor) {
    x.withMutableFloats { values in
        for i in values.indices { values[i] /= 1 + expf(-values[i]) }
    }
}
