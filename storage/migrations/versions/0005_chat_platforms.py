"""What the chat platforms keep: accepted jobs, shown answers, when people last asked, who opted out, marks."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; a way back is not offered, a backup is."""
    op.create_table('chat_jobs',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('payload', sa.JSON(), nullable=False),
    sa.Column('progress', sa.JSON(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('accepted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('owner', sa.Text(), nullable=False),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.CheckConstraint("lane IN ('summary', 'light')", name=op.f('ck_chat_jobs_lane')),
    sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name=op.f('ck_chat_jobs_state')),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_chat_jobs'))
    )
    with op.batch_alter_table('chat_jobs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_chat_jobs_person'), ['person'], unique=False)
        batch_op.create_index(batch_op.f('ix_chat_jobs_state_lane_accepted_at'), ['state', 'lane', 'accepted_at'], unique=False)

    op.create_table('chat_marks',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_chat_marks'))
    )
    op.create_table('chat_optouts',
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('person', name=op.f('pk_chat_optouts'))
    )
    op.create_table('chat_seen',
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('person', 'channel', name=op.f('pk_chat_seen'))
    )
    op.create_table('chat_answers',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('summary_id', sa.Text(), nullable=False),
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('private', sa.Boolean(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('thread', sa.Text(), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('older', sa.Integer(), nullable=False),
    sa.Column('more', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['summary_id'], ['summaries.id'], name=op.f('fk_chat_answers_summary_id_summaries'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_chat_answers'))
    )
    with op.batch_alter_table('chat_answers', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_chat_answers_person_created_at'), ['person', 'created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_chat_answers_summary_id'), ['summary_id'], unique=False)
