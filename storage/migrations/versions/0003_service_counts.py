"""Which fine-tunes an erasure was about, so that one more of the same subject finds what had learnt."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; a way back is not offered, a backup is."""
    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.add_column(sa.Column('runs', sa.JSON(), nullable=True))
    op.execute("UPDATE erasures SET runs = '[]'")
    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.alter_column('runs', existing_type=sa.JSON(), nullable=False)
