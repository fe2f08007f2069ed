import Foundation
@_spi(_Unicode) import Swift

/// Unicode's normalisation forms.
enum UnicodeForms {
    // Those of the standard library, which Foundation's newer parts use too: its older ones, which
    // `precomposedStringWithCanonicalMapping` reaches on Linux, make U+FFFD of old Korean letters.

    /// NFC.
    static func composed(_ text: String) -> String {
        text._nfc.reduce(into: "") { $0.unicodeScalars.append($1) }
    }

    /// NFD.
    static func decomposed(_ text: String) -> String {
        text._nfd.reduce(into: "") { $0.unicodeScalars.append($1) }
    }

    /// NFKC of one character.
    static func compatible(_ scalar: Unicode.Scalar) -> String {
        String(scalar).precomposedStringWithCompatibilityMapping
    }
}
