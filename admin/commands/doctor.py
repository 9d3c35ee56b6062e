"""``redraft doctor``: a line and a fix for everything that Redraft stands on; exit 0 fine, 1 something failed."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add ``doctor`` to the application."""

    @app.command()
    def doctor(
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Check Python, SQLite, the model libraries, GPU, model, data, disk, backups, settings and chats."""
        from admin.doctor import examine

        if json_:
            from dataclasses import asdict

            from admin.report import print_json

            findings = list(examine())
            print_json([asdict(finding) for finding in findings])
        else:
            from rich.console import Console
            from rich.markup import escape

            out, findings = Console(highlight=False), []
            marks = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}
            for finding in examine():
                findings.append(finding)
                out.print(f"{marks[finding.status]} {finding.name:<15} {escape(finding.finding)}", soft_wrap=True)
                if finding.fix:
                    out.print(f"     {'':<15} -> {escape(finding.fix)}", soft_wrap=True)
        if any(finding.status == "fail" for finding in findings):
            raise typer.Exit(1)
