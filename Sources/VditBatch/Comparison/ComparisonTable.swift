import Foundation

/// Rows of a table and how they are written down.
public struct ComparisonTable: Sendable, Equatable {
    public var header: [String]
    public var rows: [[String]]

    /// A GitHub-flavoured Markdown table; all columns but the first are aligned right.
    public var markdown: String {
        let escaped = ([header] + rows).map { row in
            "| " + row.map { $0.replacingOccurrences(of: "|", with: "\\|") }.joined(separator: " | ") + " |"
        }
        let rule = "|" + header.indices.map { $0 == 0 ? " --- |" : " ---: |" }.joined()
        return ([escaped[0], rule] + escaped.dropFirst()).joined(separator: "\n") + "\n"
    }

    /// Comma-separated values (RFC 4180, with line feeds).
    public var csv: String {
        ([header] + rows).map { row in row.map(Self.quoted).joined(separator: ",") + "\n" }.joined()
    }

    private static func quoted(_ field: String) -> String {
        guard field.contains(where: { ",\"\n\r".contains($0) }) else { return field }
        return "\"" + field.replacingOccurrences(of: "\"", with: "\"\"") + "\""
    }
}

extension FileComparison {
    /// One line per candidate.
    public var table: ComparisonTable {
        ComparisonTable(
            header: [
                "candidate", "frames", "PSNR dB", "lowest dB", "PSNR-Y dB", "SSIM", "MS-SSIM", "change dB",
                "identical",
            ],
            rows: candidates.map { candidate in
                let quality = candidate.quality
                let lowest = quality.psnrLowestFrame.map { " (frame \($0))" } ?? ""
                return [
                    candidate.path, "\(quality.frames)", decibels(quality.psnr),
                    decibels(quality.psnrLowest) + lowest, decibels(quality.psnrY), similarity(quality.ssim),
                    similarity(quality.msSsim),
                    quality.frames > 1 ? decibels(quality.changePsnr) : "-",
                    "\(quality.identicalFrames)",
                ]
            })
    }

    /// One line per candidate and frame, every digit; infinite ratios are `inf`, missing measures empty.
    public var frameTable: ComparisonTable {
        ComparisonTable(
            header: [
                "candidate", "frame", "psnr_db", "psnr_y_db", "ssim", "ssim_y", "ms_ssim", "change_psnr_db",
            ],
            rows: candidates.flatMap { candidate in
                candidate.quality.perFrame.enumerated().map { index, frame in
                    [
                        candidate.path, "\(index)", frame.psnr.map { "\($0)" } ?? "inf",
                        frame.psnrY.map { "\($0)" } ?? "inf", frame.ssim.map { "\($0)" } ?? "",
                        frame.ssimY.map { "\($0)" } ?? "", frame.msSsim.map { "\($0)" } ?? "",
                        index == 0 ? "" : frame.changePsnr.map { "\($0)" } ?? "inf",
                    ]
                }
            })
    }
}

// Numbers as tables and pages show them.

/// dB with two decimals; "identical" for none.
func decibels(_ value: Double?) -> String { value.map { fixed($0, 2) } ?? "identical" }
/// A similarity with four decimals.
func similarity(_ value: Double?) -> String { value.map { fixed($0, 4) } ?? "-" }
func percent(_ fraction: Double?) -> String { fraction.map { fixed(100 * $0, 1) + " %" } ?? "-" }
func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
