"""Tables, migrations, queries, import and export; under every other package."""
