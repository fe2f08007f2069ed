import TestSupport
import Testing
import VDiT

/// Byte counts as people read them.
struct BytesTests {
    @Test(arguments: [
        (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (20 << 10, "20 KiB"),
        (300 << 20, "300 MiB"), (1_023 << 10, "1 MiB"), (1_495 << 20, "1.46 GiB"), (Int.max, "8 EiB"),
    ] as [(Int, String)])
    func threeDigitsAndTheUnitThatFits(_ bytes: Int, _ text: String) {
        #expect(Bytes.text(bytes) == text)
    }

    @Test(arguments: [
        (0, 20 << 10, "0 bytes", "20 KiB"), (1 << 20, (1 << 20) + 1, "1048576 bytes", "1048577 bytes"),
        (1 << 20, 1 << 20, "1 MiB", "1 MiB"), (1 << 20, 2 << 20, "1 MiB", "2 MiB"),
    ] as [(Int, Int, String, String)])
    func countsThatDifferReadDifferently(_ one: Int, _ other: Int, _ first: String, _ second: String) {
        #expect(Bytes.texts(one, other) == (first, second))
    }

    @Test func aRunThatIsTooLargeByABitSaysSo() {
        let error = PipelineError.tooLarge(needed: (5 << 20) + 1, available: 5 << 20, limitedBy: "--memory-limit")
        #expect("\(error)".contains("about 5242881 bytes of memory, 5242880 bytes are available"))
    }
}
